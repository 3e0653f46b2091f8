// What a person should be told, once, though both views may receive it.
// Hands over nothing. It must never take a toast from under somebody's pointer.

import { calm, element, find } from "./dom.js";

const TOASTS = 4; // at once; an older one leaves

/** Shows a toast; answers its title. */
export function showToast(key, { title, message, severity = "info" }) {
  const close = element("button", { "aria-label": "Dismiss" }, "×");
  const toast = element("div", { class: "toast", "data-severity": severity, "data-key": `toast:${key}` }, element("b", {}, title), close, element("p", {}, message ?? ""));
  close.addEventListener("click", () => leaveToast(toast));
  find("#toasts").append(toast);
  while (find("#toasts").children.length > TOASTS) find("#toasts").firstElementChild.remove();
  if (!calm.matches) toast.animate([{ opacity: 0, transform: "translateX(24px)" }, { opacity: 1, transform: "none" }], { duration: 260, easing: "ease-out" });
  // What is critical stays until it was read; the rest goes, but not from under somebody's pointer.
  if (severity === "critical") return title;
  const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : leaveToast(toast));
  setTimeout(leave, 7000);
  return title;
}

async function leaveToast(toast) {
  if (!calm.matches) await toast.animate([{ opacity: 1 }, { opacity: 0, transform: "translateX(24px)" }], { duration: 180 }).finished;
  toast.remove();
}
