// Light or dark before anything is drawn: as was chosen here, otherwise as the system has it.
(() => {
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("lens-theme");
    } catch {
      return null; // a browser that stores nothing
    }
  };
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => button.setAttribute("aria-pressed", String(dark()));
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try {
        localStorage.setItem("lens-theme", root.dataset.theme);
      } catch {
        // it holds until the page is left
      }
      tell();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
    tell();
  });
})();
