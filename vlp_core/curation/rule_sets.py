"""Rules that others published, by name."""

RULE_SETS: dict[str, tuple[str, ...]] = {
    # DataComp's basic filtering (Gadre et al., 2023, arXiv:2304.14108, section 3.2; sides as in its apply_filter.py).
    "datacomp_basic": ("side>=200", "ratio<=3", "words>2", "chars>5", "language=en"),
    # LAION-400M (Schuhmann et al., 2021, arXiv:2111.02114, section 2.2). Copies of (url, alt) merge at ingest.
    "laion400m": ("chars>=5", "bytes>=5000", "clip>=0.3"),
    # LAION-5B (Schuhmann et al., 2022, arXiv:2210.08402, section 3.2), its English part; unsafe and watermarked
    # pictures are marked there, not dropped: 'unsafe<=0.5' and 'watermark<=0.8' drop them.
    "laion5b": ("chars>=5", "bytes>=5000", "clip>=0.28"),
    # COYO-700M (Byeon et al., 2022, github.com/kakaobrain/coyo-dataset, its README's filtering).
    "coyo": (
        "bytes>=5000", "ratio<=3", "side>=200", "words>=3", "words<=256", "chars>=5", "chars<=1000", "nouns>=1",
        "shared<=10",
    ),
    # Conceptual 12M (Changpinyo et al., 2021, arXiv:2102.08981, section 2).
    "cc12m": (
        "format=jpeg", "side>400", "ratio<=2.5", "words>=3", "words<=256", "nouns>=1", "determiners>=1",
        "repetition<=0.2",
    ),
    # Conceptual Captions (Sharma et al., 2018, ACL, section 3), as CC12M relaxed it but for the ratio.
    "cc3m": (
        "format=jpeg", "side>400", "ratio<=2", "words>=3", "words<=256", "nouns>=1", "determiners>=1",
        "repetition<=0.2",
    ),
    # ALIGN (Jia et al., 2021, arXiv:2102.05918, section 3).
    "align": ("side>200", "ratio<3", "words>=3", "words<=20", "shared<=10"),
}  # fmt: skip
