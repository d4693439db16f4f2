// Builds elements; text is always text, never markup, since titles and ids come from outside.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

export const byId = (id) => document.getElementById(id);
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Replaces what a place holds only where it has changed: focus and scrolling stay where they were.
const drawn = new WeakMap();
export function redraw(place, of, build) {
  const key = JSON.stringify(of);
  if (drawn.get(place) === key) return;
  drawn.set(place, key);
  place.replaceChildren(...build());
}

// A button whose act cannot be taken back lightly: it asks once more, and forgets the question after a while.
export function careful(text, question, act) {
  const button = element("button", { type: "button", class: "careful", onclick: press }, text);
  let asked = 0;
  function press() {
    clearTimeout(asked);
    const sure = button.dataset.asked;
    button.textContent = sure ? text : question;
    button.toggleAttribute("data-asked", false);
    if (sure) return act();
    button.dataset.asked = "yes";
    asked = setTimeout(() => { delete button.dataset.asked; button.textContent = text; }, 5_000);
  }
  return button;
}
