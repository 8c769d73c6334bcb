"use strict";
// The page comes again from the server, and takes the place of what is shown. What was opened stays open.
async function renew() {
  try {
    const text = await (await fetch(location.href, {cache: "no-store"})).text();
    const next = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    const main = document.querySelector("main");
    for (const d of main.querySelectorAll("details[open]")) {
      const same = next && next.querySelector("#" + CSS.escape(d.id));
      if (same) same.open = true;
    }
    if (next && !document.getSelection().toString()) main.replaceWith(next);
    document.documentElement.dataset.live = String(Number(document.documentElement.dataset.live || 0) + 1);
  } catch (e) {
    const title = document.querySelector("header strong");
    if (title) { title.className = "bad"; title.textContent = "the app does not answer"; }
  }
  setTimeout(renew, document.hidden ? 10000 : 2000);
}
setTimeout(renew, 2000);
