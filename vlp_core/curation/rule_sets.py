"""Rules that others published, by name."""

_CONCEPTUAL_TEXT = ("words>=3", "words<=256", "nouns>=1", "determiners>=1", "repetition<=0.2")

RULE_SETS: dict[str, tuple[str, ...]] = {
    # DataComp's basic filtering (Gadre et al., 2023, arXiv:2304.14108, section 3.2; sides as in its apply_filter.py).
    "datacomp_basic": ("side>=200", "ratio<=3", "words>2", "chars>5", "language=en"),
    # LAION-400M (Schuhmann et al., 2021, arXiv:2111.02114, section 2.2): scores of CLIP's ViT-B/32, what is unsafe by
    # prompts of the same model. Copies of (url, alt) merge at ingest.
    "laion400m": ("chars>=5", "bytes>=5000", "clip>=0.3", "unsafe<=0.5"),
    # LAION-5B (Schuhmann et al., 2022, arXiv:2210.08402, section 3.2): its English part, and that in other languages,
    # scored by a multilingual CLIP. Unsafe and watermarked pictures are marked there, not dropped: 'unsafe<=0.5' and
    # 'watermark<=0.8' drop them.
    "laion5b": ("chars>=5", "bytes>=5000", "language=en", "clip>=0.28"),
    "laion5b_multilingual": ("chars>=5", "bytes>=5000", "language!=en", "clip>=0.26"),
    # COYO-700M (Byeon et al., 2022, github.com/kakaobrain/coyo-dataset, its README's filtering). Copies and pictures of
    # evaluation sets go at dedup and select.
    "coyo": (
        "bytes>=5000", "ratio<=3", "side>=200", "words>=3", "words<=256", "chars>=5", "chars<=1000", "nouns>=1",
        "shared<=10",
    ),
    # Conceptual 12M (Changpinyo et al., 2021, arXiv:2102.08981, section 2).
    "cc12m": ("format=jpeg", "side>400", "ratio<=2.5", *_CONCEPTUAL_TEXT),
    # Conceptual Captions (Sharma et al., 2018, ACL, section 3): its pictures; its text as CC12M relaxed that.
    "cc3m": ("format=jpeg", "side>400", "ratio<=2", *_CONCEPTUAL_TEXT),
    # ALIGN (Jia et al., 2021, arXiv:2102.05918, section 3).
    "align": ("side>200", "ratio<3", "words>=3", "words<=20", "shared<=10"),
}  # fmt: skip
