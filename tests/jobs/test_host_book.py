import threading
import time

from jobs.host_book import start_book
from tests.jobs.downloading import answer, settings
from tests.vlp_core.web.site import Site
from vlp_core.web.crawl import crawl
from vlp_core.web.link import Answer, Link


def test_fetchers_that_share_a_book_ask_a_host_no_faster_together_than_one_may(cluster: str) -> None:
    """And read its robots.txt once."""
    import ray

    answers: list[Answer] = []
    with Site(answer) as site:
        fetch = settings(site, per_host_rate=20.0)
        actor, book = start_book(fetch)

        def fetcher(name: str) -> None:
            links = ((number, Link(f"http://one.test/dead-{name}-{number}")) for number in range(15))
            crawl(links, fetch, lambda _, answer: answers.append(answer), book=book)

        try:
            fetchers = [threading.Thread(target=fetcher, args=(name,)) for name in "ab"]
            started = time.monotonic()
            for thread in fetchers:
                thread.start()
            for thread in fetchers:
                thread.join(60)
            seconds = time.monotonic() - started
        finally:
            ray.kill(actor)
        assert [answer.http_status for answer in answers] == [404] * 30
        assert len(site.robots_asked) == 1
        assert seconds >= 29 / 20
