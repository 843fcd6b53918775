"use strict";
(() => {
  const panels = JSON.parse(document.getElementById("panels").textContent);
  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // plotly reads a little markup in texts; names are shown as they are
  const plain = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const hidden = new Map();
  const drawn = new Map();

  // 1, 2, 5 of every decade, or its start alone where there are many; plotly's own choice mixes sizes
  function ticks(values) {
    const low = Math.min(...values), high = Math.max(...values), decades = Math.log10(high / low);
    if (decades > 0 && decades < 0.7) return {};
    const tickvals = [];
    for (let power = -12; power < 13; power++)
      for (const start of decades > 2 ? [1] : decades > 1.3 ? [1, 3] : [1, 2, 5]) tickvals.push(Number(`${start}e${power}`));
    const ticktext = tickvals.map(v => v >= 1000 && v < 1e7 ? String(v).replace(/(?=(\d{3})+$)(?<=\d)/g, "\u202f") : String(v));
    return { tickvals, ticktext };
  }

  function theme(panel, figure) {
    const all = which => figure.traces.flatMap(trace => trace[which]);
    const axis = (title, log, range, values) => ({
      title: { text: plain(title), standoff: 8 }, type: log ? "log" : "linear", automargin: true,
      ...(range ? { range } : {}), gridcolor: style("--line"), linecolor: style("--soft"), zeroline: false,
      showline: true, ticks: "outside", ticklen: 4, tickcolor: style("--soft"),
      ...(log ? ticks(values) : {}),
    });
    return {
      margin: { l: 48, r: 10, t: coarse ? 34 : 8, b: 44 }, showlegend: false, hovermode: "closest",
      dragmode: coarse ? false : "zoom", paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: style("--ink") },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: style("--soft"), activecolor: style("--ink") },
      hoverlabel: { bgcolor: style("--panel"), bordercolor: style("--soft"), font: { color: style("--ink") }, align: "left" },
      xaxis: axis(panel.x_title, panel.x_log, figure.x_range, all("x")),
      yaxis: { ...axis(panel.y_title, panel.y_log, figure.y_range, all("y")), ...(figure.y_range ? { dtick: 25 } : {}) },
    };
  }

  function look(panel, trace) {
    const { colour, dash } = panel.legend[trace.key];
    const color = style(`--c${colour}`);
    return panel.kind === "points"
      ? { marker: { color: dash === "solid" ? color : "rgba(0,0,0,0)", size: 9, line: { color, width: 1.8 } } }
      : { line: { color, dash, width: 1.8, shape: "hv" } };
  }

  function traces(panel, figure) {
    const gone = hidden.get(panel.slug);
    return figure.traces.map(trace => ({
      type: "scatter", mode: panel.kind === "points" ? "markers" : "lines", x: trace.x, y: trace.y,
      name: plain(panel.legend[trace.key].name), visible: !gone.has(trace.key), ...look(panel, trace),
      hovertemplate: `<b>%{fullData.name}</b><br>${plain(panel.hover).replace("{x}", "%{x:.4g}").replace("{y}", "%{y:.4g}")}<extra></extra>`,
    }));
  }

  const config = {
    // a finger scrolls the page: it zooms with the buttons, which cannot wait for a pointer above them
    responsive: true, displaylogo: false, displayModeBar: coarse ? true : "hover",
    showSendToCloud: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toImage"],
  };

  function draw(element) {
    if (drawn.has(element)) return;
    const panel = panels.find(each => each.slug === element.dataset.panel);
    const figure = panel.figures[Number(element.dataset.figure)];
    drawn.set(element, { panel, figure });
    Plotly.newPlot(element, traces(panel, figure), theme(panel, figure), config);
  }

  function show(panel) {
    const gone = hidden.get(panel.slug);
    for (const button of document.querySelectorAll(`.legend[data-panel="${panel.slug}"] button`))
      button.setAttribute("aria-pressed", String(!gone.has(Number(button.dataset.key))));
    for (const [element, { panel: its, figure }] of drawn)
      if (its === panel) Plotly.restyle(element, { visible: figure.traces.map(trace => !gone.has(trace.key)) });
  }

  for (const panel of panels) {
    hidden.set(panel.slug, new Set());
    const all = panel.legend.map((_, key) => key);
    for (const button of document.querySelectorAll(`.legend[data-panel="${panel.slug}"] button`)) {
      const key = Number(button.dataset.key);
      button.addEventListener("click", () => {
        const gone = hidden.get(panel.slug);
        if (!gone.delete(key)) gone.add(key);
        show(panel);
      });
      button.addEventListener("dblclick", () => {
        const alone = all.every(other => other === key || hidden.get(panel.slug).has(other));
        hidden.set(panel.slug, new Set(alone ? [] : all.filter(other => other !== key)));
        show(panel);
      });
    }
  }

  const plots = document.querySelectorAll(".plot");
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "400px" });
  plots.forEach(plot => seen.observe(plot));
  addEventListener("beforeprint", () => plots.forEach(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [element, { panel, figure }] of drawn) {
      const now = theme(panel, figure);
      for (const axis of ["xaxis", "yaxis"]) if (element.layout[axis].range) now[axis].range = element.layout[axis].range;
      Plotly.react(element, traces(panel, figure), now, config);
    }
  });

  // tables: rows are sorted within their model, and keep the model's name beside them
  const value = (row, column) => {
    const { v } = row.querySelector(`td[data-c="${column}"]`).dataset;
    return v === "" || Number.isNaN(Number(v)) ? v : Number(v);
  };
  const missing = v => v === "" || v === "nan";
  function compare(one, other) {
    if (missing(one) || missing(other)) return missing(one) - missing(other);
    return typeof one === "number" && typeof other === "number" ? one - other
      : String(one).localeCompare(String(other), undefined, { numeric: true });
  }
  for (const button of document.querySelectorAll(".results th button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), table = head.closest("table");
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter(row => row.className !== "model"), name = body.querySelector("th.side");
        rows.sort((a, b) => {
          const one = value(a, button.dataset.c), other = value(b, button.dataset.c);
          return missing(one) || missing(other) || !down ? compare(one, other) : compare(other, one);
        });
        body.append(...rows);
        if (name) rows[0].prepend(name);
      }
    });
  }
})();
