"""A tracker that keeps what it is told."""

from vlp_core.tracker import Silent


class Listening(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)
