// Puts values into markup: into each element with `data-is="key"` the text of that key. What has not changed is not touched,
// so that a selection, a focus and a screen reader are left in peace.

export function fill(root, values) {
  for (const element of root.querySelectorAll("[data-is]")) {
    const key = element.dataset.is;
    if (!(key in values)) continue;
    const text = values[key] == null ? "" : String(values[key]);
    if (element.textContent === text) continue;
    // A text that is there is changed, and not another put in its place: that costs a browser less.
    if (element.firstChild && element.firstChild === element.lastChild && element.firstChild.nodeType === Node.TEXT_NODE) {
      element.firstChild.nodeValue = text;
    } else element.textContent = text;
  }
}

// Shows or hides what a selector finds.
export function show(root, selector, isShown) {
  for (const element of root.querySelectorAll(selector)) element.hidden = !isShown;
}

export function attribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// A copy of what a template holds.
export function copyOf(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

// Brings the children of `list` in line with `items`: one child for each, by its key, in their order. `make` and `update`
// are told the item.
export function list(list, items, key, make, update) {
  const old = new Map([...list.children].map((child) => [child.dataset[key.data], child]));
  let at = list.firstElementChild;
  for (const item of items) {
    const id = key.of(item);
    const child = old.get(id) ?? make(item);
    old.delete(id);
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else list.insertBefore(child, at);
  }
  for (const child of old.values()) child.remove();
}

// Says something to who cannot see it. Sparingly: once for what a person waits for.
export function say(sentence) {
  document.getElementById("said").textContent = sentence;
}
