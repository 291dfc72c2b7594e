"use strict";
(() => {
  const up = document.body.dataset.up || "./";
  const home = new URL(up, location.href);
  const field = document.getElementById("search");
  const answers = document.getElementById("answers");
  const STEP = 60;

  const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");
  const make = (name, props = {}, ...content) => {
    const made = Object.assign(document.createElement(name), props);
    made.append(...content);
    return made;
  };

  /* the index: an app is [id, name, summary, icon, keywords, developer] */
  let index;
  const fetched = async (name) => {
    const answer = await fetch(new URL(`site/${name}`, home), { cache: name === "index.json" ? "no-cache" : "default" });
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
    return answer.json();
  };
  const attempt = async () => {
    const { files } = await fetched("index.json");
    const apps = (await Promise.all(files.map(fetched))).flat();
    return apps.map((app) => ({
      app, name: plain(app[1]), id: plain(app[0]), summary: ` ${plain(app[2])}`,
      keywords: ` ${plain(app[4])}`, developer: ` ${plain(app[5])}`,
    }));
  };
  // published anew while it was being read: once more
  const load = () => (index ??= attempt().catch(attempt).catch((error) => {
    index = undefined;
    throw error;
  }));

  const cost = (entry, term) => {
    const { name, id, summary, keywords, developer } = entry;
    if (name.startsWith(term)) return name.length === term.length ? 0 : 1;
    if (` ${name}`.includes(` ${term}`)) return 2;
    if (name.includes(term)) return 3;
    if (keywords.includes(` ${term}`)) return 4;
    if (summary.includes(` ${term}`)) return 5;
    if (id.includes(term)) return 6;
    if (summary.includes(term) || keywords.includes(term)) return 7;
    if (developer.includes(` ${term}`)) return 8;
    return -1;
  };
  const find = (entries, query) => {
    const terms = plain(query).split(/\s+/).filter(Boolean);
    const found = [];
    for (const entry of entries) {
      let sum = entry.name.startsWith(plain(query).trim()) ? -1 : 0;
      for (const term of terms) {
        const one = cost(entry, term);
        if (one < 0) { sum = -9; break; }
        sum += one;
      }
      if (sum > -9) found.push([sum, entry]);
    }
    found.sort((a, b) => a[0] - b[0] || (a[1].name < b[1].name ? -1 : 1));
    return found.map(([, entry]) => entry.app);
  };

  const picture = ([id, name, , icon]) => {
    if (icon) {
      const src = new URL(`apps/${id}/${icon}`, home);
      return make("img", { className: "icon", loading: "lazy", src, alt: "", width: 48, height: 48 });
    }
    const shade = [...new TextEncoder().encode(id)].reduce((sum, byte) => sum + byte, 0) % 6;
    const made = make("span", { className: `icon letter s${shade}` }, [...name][0].toUpperCase());
    made.setAttribute("aria-hidden", "true");
    return made;
  };
  const card = (app) => {
    const text = make("span", {}, make("b", { dir: "auto" }, app[1]));
    if (app[2]) text.append(make("span", { dir: "auto" }, app[2]));
    const href = new URL(`apps/${app[0]}/index.html`, home);
    return make("li", {}, make("a", { className: "card", href }, picture(app), text));
  };

  if (answers) {
    const browse = document.getElementById("browse");
    const title = document.getElementById("found");
    const results = document.getElementById("results");
    const more = document.getElementById("more");
    let rest = [];
    const showMore = () => {
      results.append(...rest.slice(0, STEP).map(card));
      rest = rest.slice(STEP);
      more.hidden = !rest.length;
    };
    const show = (found, query) => {
      const count = found.length;
      title.textContent = count ? `${count} ${count === 1 ? "app" : "apps"} for “${query}”`
        : `Nothing found for “${query}”`;
      rest = found;
      results.replaceChildren();
      showMore();
    };
    const search = async () => {
      const query = field.value.trim();
      answers.hidden = !query;
      browse.hidden = Boolean(query);
      const address = new URL(location.href);
      address.search = query ? `?${new URLSearchParams({ q: query })}` : "";
      history.replaceState(null, "", address);
      if (!query) return;
      try {
        const entries = await load();
        if (query === field.value.trim()) show(find(entries, query), query);
      } catch {
        title.textContent = "The search could not be loaded; try again in a moment.";
      }
    };
    field.value = new URLSearchParams(location.search).get("q") || "";
    field.addEventListener("focus", () => load().catch(() => {}), { once: true });
    field.addEventListener("input", search);
    field.form.addEventListener("submit", (event) => {
      event.preventDefault();
      results.querySelector("a")?.focus();
    });
    more.addEventListener("click", () => {
      const at = results.children.length;
      showMore();
      results.children[at]?.querySelector("a").focus();
    });
    if (field.value) search();
  }

  /* keys: / to search, arrows among apps, Escape back */
  const visible = () => [...document.querySelectorAll(".card")].filter((each) => each.offsetParent);
  const step = (from, key) => {
    const all = visible();
    const at = all.indexOf(from);
    if (key === "ArrowRight") return all[at + 1];
    if (key === "ArrowLeft") return all[at - 1];
    const here = from.getBoundingClientRect();
    const down = key === "ArrowDown";
    let best, least = Infinity;
    for (const each of all) {
      const there = each.getBoundingClientRect();
      const away = down ? there.top - here.top : here.top - there.top;
      const total = away * 100 + Math.abs(there.left - here.left);
      if (away > 4 && total < least) [best, least] = [each, total];
    }
    return best || (down ? undefined : field);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key, target } = event;
    const typing = target.matches("input, textarea, select, [contenteditable]");
    let goal;
    if (key === "/" && !typing) goal = field;
    else if (key === "Escape" && target === field && field.value) {
      field.value = "";
      field.dispatchEvent(new Event("input", { bubbles: true }));
      event.preventDefault();
    } else if (key === "Escape" && target.matches(".card")) goal = field;
    else if (target === field && key === "ArrowDown") goal = visible()[0];
    else if (target.matches(".card") && key.startsWith("Arrow")) goal = step(target, key);
    if (goal) {
      event.preventDefault();
      goal.focus();
      if (goal === field) field.select();
    }
  });

  /* commands: the repository's address, copying */
  for (const word of document.querySelectorAll("[data-address]")) word.textContent = home.href;
  const copied = async (block) => {
    try {
      await navigator.clipboard.writeText(block.textContent);
    } catch {
      getSelection().selectAllChildren(block);
      if (!document.execCommand("copy")) return "Press Ctrl+C";
      getSelection().removeAllRanges();
    }
    return "Copied";
  };
  for (const button of document.querySelectorAll(".copy")) {
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      button.textContent = await copied(button.parentElement.querySelector("pre"));
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  /* screenshots elsewhere: fetched when somebody asks for them */
  document.querySelector("[data-shots]")?.addEventListener("click", (event) => {
    event.target.parentElement.remove();
    document.querySelector(".elsewhere").classList.remove("elsewhere");
    for (const link of document.querySelectorAll("[data-shot]")) {
      const image = make("img", { alt: link.textContent, referrerPolicy: "no-referrer" });
      if (link.dataset.width) [image.width, image.height] = [link.dataset.width, link.dataset.height];
      image.src = link.href;
      link.replaceChildren(image);
    }
    document.querySelector("[data-shot]").focus();
  });
})();
