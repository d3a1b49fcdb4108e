// How the page is looked at: in light or in dark, on a narrow screen, on paper.

const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const narrowScreen = matchMedia("(max-width: 700px)");
const paper = { printing: false };

/** Whether colours are to stand on a dark ground. Paper is light. */
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return !paper.printing && (chosen ? chosen === "dark" : darkSystem.matches);
}

const isNarrow = () => !paper.printing && narrowScreen.matches;

// Okabe and Ito's colours without black and without yellow, which a light page hides; on a dark page
// the same hues, each with a contrast to it of more than 4.5 even where it is see-through.
const LIGHT = {
  series: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"],
  grey: "#808080",
  diverging: ["#a64500", "#f0ab7a", "#f7f7f7", "#8cc3e6", "#00517f"],
};
const DARK = {
  series: ["#6cb8f0", "#ff9a57", "#3fd0a0", "#eba6cd", "#f2c14b", "#b9b4ff"],
  grey: "#a9b2ba",
  diverging: ["#ffb68a", "#96552a", "#262c32", "#2d6a94", "#a3d6fb"],
};

const palette = () => (isDark() ? DARK : LIGHT);
