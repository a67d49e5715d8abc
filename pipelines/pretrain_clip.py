#!/usr/bin/env python
"""The main job: lists of (url, caption) in, a registered and evaluated CLIP out.

pipelines/pretrain_clip.py --source pairs.parquet --eval.retrieval test.parquet --root /data/runs
pipelines/pretrain_clip.py --forecast …      # first: what the whole will give, take and leave
"""

from pipelines.forecasting.forecast import run_or_forecast
from pipelines.forecasting.settings import Forecasting
from pipelines.pretrain import HEADLINE, build, configuration
from pipelines.workflow.cli import run_pipeline
from vlp_core.recipes import clip

PretrainClip = configuration("clip", clip.TINY)

if __name__ == "__main__":
    raise SystemExit(
        run_pipeline("pretrain-clip", PretrainClip, build, headline=HEADLINE, common=Forecasting, run=run_or_forecast)
    )
