// Words explain themselves when pointed at or reached by keyboard; a tap works without this.

const PATIENCE = 250; // ms: a pointer that only passes by opens nothing

export function words() {
  let timer = 0;
  const show = (word) => {
    const meaning = document.getElementById(word.getAttribute("popovertarget"));
    if (!meaning?.showPopover || meaning.matches(":popover-open")) return;
    meaning.showPopover({ source: word });
  };
  const hide = () => {
    clearTimeout(timer);
    document.querySelector(".meaning:popover-open")?.hidePopover();
  };
  const wordOf = (event) => event.target.closest?.(".word");
  document.addEventListener("pointerover", (event) => {
    const word = event.pointerType === "mouse" && wordOf(event);
    if (word) timer = setTimeout(() => show(word), PATIENCE);
  });
  document.addEventListener("pointerout", (event) => event.pointerType === "mouse" && wordOf(event) && hide());
  document.addEventListener("focusin", (event) => {
    const word = wordOf(event);
    if (word?.matches(":focus-visible")) show(word);
  });
  document.addEventListener("focusout", (event) => wordOf(event) && hide());
}
