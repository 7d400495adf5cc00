// The colours that the visitor chose (auto, dark, light), kept in this browser, set before the first paint.
(() => {
  const KEY = "myofed-theme", CHOICES = ["auto", "dark", "light"];
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  let choice = "auto";
  try { choice = localStorage.getItem(KEY) ?? "auto"; } catch { /* no storage: auto */ }
  if (!CHOICES.includes(choice)) choice = "auto";
  const isDark = () => (choice === "auto" ? system.matches : choice === "dark");

  function apply() {
    root.dataset.theme = isDark() ? "dark" : "light";
    root.dataset.themeChoice = choice;
    window.Quasar?.Dark.set(isDark());  // its own components: menus, tables
    window.dispatchEvent(new CustomEvent("myofed-theme", { detail: { dark: isDark() } }));
  }
  function next() {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    try { localStorage.setItem(KEY, choice); } catch { /* kept for this page only */ }
    apply();
  }
  window.myofedTheme = { next, isDark };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", apply);  // Quasar stands now
})();
