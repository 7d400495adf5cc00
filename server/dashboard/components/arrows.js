// A row of buttons as one stop of the tab key: the arrows lead from one to the next.

/** Which button has the focus after this key. */
export function stepped(event, at) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const buttons = event.currentTarget.querySelectorAll("button");
  if (!step || !buttons.length) return at;
  event.preventDefault();
  const next = (Math.min(at, buttons.length - 1) + step + buttons.length) % buttons.length;
  buttons[next].focus();
  return next;
}
