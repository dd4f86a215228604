// Keeps open pages current. Every page reads the same without it.
"use strict";
(() => {
  const MAX_LINES = 2000;
  const streams = new Map();

  // A stream that is closed while nobody looks: browsers allow a host only a few.
  function follow(key, url, handlers) {
    const open = () => {
      const source = new EventSource(url());
      for (const [name, handle] of Object.entries(handlers)) source.addEventListener(name, handle);
      return source;
    };
    streams.set(key, { open, source: document.hidden ? null : open() });
  }

  function stop(key) {
    streams.get(key)?.source?.close();
    streams.delete(key);
  }

  document.addEventListener("visibilitychange", () => {
    for (const stream of streams.values()) {
      if (document.hidden) {
        stream.source?.close();
        stream.source = null;
      } else if (!stream.source) {
        stream.source = stream.open();
      }
    }
  });

  function part(tag, className, textContent) {
    return Object.assign(document.createElement(tag), { className, textContent });
  }

  function append(log, line) {
    if (line.number <= Number(log.dataset.after)) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const item = document.createElement("div");
    item.append(part("time", "", line.at.slice(11, 19)), " ", part("span", "stage", line.stage), " ", part("span", "text", line.text));
    log.append(item);
    log.dataset.after = line.number;
    while (log.children.length > MAX_LINES) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  function followLogs() {
    for (const key of [...streams.keys()]) if (key.startsWith("log-") && !document.getElementById(key)) stop(key);
    for (const log of document.querySelectorAll("[data-log]")) {
      if (streams.has(log.id)) continue;
      log.scrollTop = log.scrollHeight;
      const find = () => document.getElementById(log.id);
      follow(log.id, () => `${log.dataset.log}?after=${find()?.dataset.after ?? 0}`, {
        line: (event) => find() && append(find(), JSON.parse(event.data)),
        end: () => {
          const reload = find() && "reload" in find().dataset;
          streams.get(log.id)?.source?.close();
          if (reload) location.reload();
        },
        gone: () => streams.get(log.id)?.source?.close(),
      });
    }
  }

  function units(seconds) {
    const [count, unit] = seconds < 60 ? [seconds, "second"] : seconds < 3600 ? [seconds / 60, "minute"] : seconds < 86400 ? [seconds / 3600, "hour"] : [seconds / 86400, "day"];
    return `${Math.floor(count)} ${unit}${Math.floor(count) === 1 ? "" : "s"}`;
  }

  function tick() {
    for (const time of document.querySelectorAll("time[data-when]")) {
      const seconds = Math.round((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (Number.isNaN(seconds)) continue;
      const words = Math.abs(seconds) < 5 ? "just now" : seconds > 0 ? `${units(seconds)} ago` : `in ${units(-seconds + (seconds > -60 ? 0 : seconds > -3600 ? 30 : 1800))}`;
      if (time.textContent !== words) time.textContent = words;
    }
  }

  document.addEventListener("click", (event) => {
    const dialogue = event.target.closest("dialog");
    if (dialogue && (event.target.closest("[data-close]") || event.target === dialogue)) {
      event.preventDefault();
      dialogue.close();
    }
  });

  document.addEventListener("htmx:after:swap", () => {
    const dialogue = document.getElementById("dialogue");
    if (dialogue?.childElementCount && !dialogue.open) dialogue.showModal();
    followLogs();
    tick();
  });

  const now = document.querySelector("[data-changes]");
  if (now) follow("changes", () => now.dataset.changes, { changed: () => htmx.trigger(now, "teal-changed") });
  document.getElementById("dialogue")?.addEventListener("close", (event) => event.target.replaceChildren());
  followLogs();
  setInterval(tick, 1000);
})();
