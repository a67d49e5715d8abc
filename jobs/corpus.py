"""The embedded corpus: renders a miniature web, its lists, and the truth about them."""

from collections import Counter
from pathlib import Path

from vlp_core.miniature.settings import Corpus
from vlp_core.tracker import Summary, Tracker

VERSION = "1"


def run(*, corpus: Corpus, out: Path, tracker: Tracker) -> Summary:
    """Write the lists, `classes.json`, `truth.parquet`, and the web that `vlp_core.miniature.server.serve(out)` serves.

    train.parquet, retrieval.parquet: (url, caption), a row a caption.
    zero_shot.parquet: (url, label, group "seen" or "held_out").
    classes: {"classes": names, "templates": prompts with {}}. truth: a row a url, see `vlp_core.miniature.web.TRUTH`.
    """
    import pyarrow as pa

    from vlp_core.files import write_table, write_text
    from vlp_core.identity import canonical_json
    from vlp_core.miniature.captions import PROMPTS
    from vlp_core.miniature.scenes import CLASSES
    from vlp_core.miniature.sheet import contact_sheet
    from vlp_core.miniature.weave import Web
    from vlp_core.miniature.web import KINDS, truth_of, write_web

    web = Web(corpus, report=lambda done: tracker.progress(done, None, unit="pages"))
    for name in ("train", "retrieval"):
        pairs = [(row.url, text) for row in web.rows_of(name) for text in row.captions]
        write_table(out / f"{name}.parquet", pa.table({"url": [u for u, _ in pairs], "caption": [t for _, t in pairs]}))
    shown = web.rows_of("zero_shot")
    held_out = {str(kind) for kind in web.held_out}
    labels = [row.scene.classes[0] for row in shown]
    groups = ["held_out" if label in held_out else "seen" for label in labels]
    write_table(
        out / "zero_shot.parquet", pa.table({"url": [row.url for row in shown], "label": labels, "group": groups})
    )
    write_text(out / "classes.json", canonical_json({"classes": [str(k) for k in CLASSES], "templates": list(PROMPTS)}))
    train = web.rows_of("train")
    write_table(out / "truth.parquet", truth_of([*train, *web.rows_of("retrieval"), *shown]))
    write_web(out, web.pages)
    contact_sheet(web.rows, web.pages).save(out / "sheet.png")
    kinds = Counter(row.kind for row in train)
    counts = {"rows/train": len(train), "rows/retrieval": corpus.retrieval, "rows/zero_shot": len(shown)}
    counts |= {f"kind/{kind}": kinds[kind] for kind in KINDS}
    return Summary(counts=counts, pictures={"sheet": "sheet.png"})
