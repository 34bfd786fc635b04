"use strict";
// Without this script every page is whole as it was when it was asked for. The script asks again:
// for the page's main part while something is expected to change, and for what was added to a log.
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  let pause = 2000;
  for (;;) {
    const main = document.querySelector("main");
    const log = document.getElementById("log");
    const follows = log && log.dataset.next;
    if (!main.dataset.live && !follows) return;
    await wait(follows ? Math.min(pause, 1000) : pause);
    if (document.hidden) continue;
    try {
      if (follows) {
        const url = new URL(log.dataset.url, location.href);
        url.searchParams.set("html", "1");
        url.searchParams.set("from", log.dataset.next);
        const answer = await fetch(url);
        if (answer.ok) {
          const atEnd = innerHeight + scrollY > document.body.scrollHeight - 80;
          const added = await answer.text();
          log.insertAdjacentHTML("beforeend", added); // escaped by the server, as on the page
          log.dataset.next = answer.headers.get("x-next");
          if (added && atEnd) scrollTo(0, document.body.scrollHeight);
          pause = 2000;
          if (added || answer.headers.get("x-open")) continue;
        }
      }
      const answer = await fetch(location.href);
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.querySelector("main");
        if (fresh.innerHTML !== main.innerHTML) main.replaceWith(document.adoptNode(fresh));
        document.title = page.title;
        pause = 2000;
      }
    } catch {
      pause = Math.min(pause * 2, 60000); // the service is away; it may come back
    }
  }
})();
