const errors = [];
addEventListener("error", (event) => errors.push(String(event.message ?? event.target?.src ?? "a resource did not load")), true);
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => errors.push(`refused: ${event.blockedURI}`));
addEventListener("load", () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const shown = (element) => element.getClientRects().length > 0;
  const images = [...document.images];
  const charts = [...document.querySelectorAll(".chart svg")].filter((svg) => shown(svg) && !svg.classList.contains("glyph"));
  const scale = (text) => parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a;
  const requests = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    errors,
    requests,
    pictures: images.length,
    broken: images.filter((image) => !image.complete || image.naturalWidth === 0).length,
    charts: charts.length,
    overflow: Math.max(0, document.documentElement.scrollWidth - innerWidth),
    smallest_text: Math.min(...charts.flatMap((svg) => [...svg.querySelectorAll("text")]).map(scale)),
  }), "*");
});
