(function () {
  "use strict";
  var COLORS = 8;
  var DASHES = ["solid", "dash", "dot", "dashdot"];
  var HEIGHT = 330;
  var PAPER_WIDTH = 680;
  var PAPER_HEIGHT = 260;
  var root = document.documentElement;
  var charts = JSON.parse(document.getElementById("page-data").textContent).charts;
  var narrow = window.matchMedia("(max-width: 640px)");
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var drawn = Array.prototype.map.call(document.querySelectorAll("[data-chart]"), function (div) {
    return { div: div, chart: charts[div.dataset.chart] };
  });

  // plotly.js reads some markup in texts: names must stay names.
  function plain(text) {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function readTheme() {
    var style = getComputedStyle(root);
    function read(name) {
      return style.getPropertyValue("--" + name).trim();
    }
    var theme = { palette: [] };
    ["ink", "muted", "bad", "line", "grid", "panel"].forEach(function (name) {
      theme[name] = read(name);
    });
    for (var place = 0; place < COLORS; place++) theme.palette.push(read("c" + place));
    theme.font = getComputedStyle(document.body).fontFamily;
    return theme;
  }

  function trace(series, chart, theme) {
    var listed = typeof series.color === "number";
    var color = listed ? theme.palette[series.color % COLORS] : theme[series.color];
    var round = listed ? Math.floor(series.color / COLORS) : 0;
    var marks = series.style === "marks";
    var thin = series.style === "thin" || series.style === "dashed";
    var hints = series.hints.length > 0;
    var figure = "%{y:.4~g}" + (chart.unit ? " " + chart.unit : "");
    return {
      type: "scatter",
      mode: marks ? "markers" : "lines",
      name: plain(series.name),
      x: series.x,
      y: series.y,
      customdata: hints ? series.hints.map(plain) : undefined,
      hovertemplate: marks ? "%{customdata}" : hints ? "%{customdata}: " + figure : figure,
      line: {
        color: color,
        width: thin ? 1.3 : 2,
        dash: series.style === "dashed" ? "dash" : DASHES[round % DASHES.length],
      },
      marker: { color: color, size: 8, symbol: "triangle-up" },
      fill: series.style === "area" ? "tozeroy" : "none",
      opacity: series.style === "thin" ? 0.75 : 1,
      connectgaps: false,
      showlegend: !marks,
      cliponaxis: !marks,
    };
  }

  function shapes(chart, theme) {
    var spans = chart.spans.map(function (span) {
      return {
        type: "rect", layer: "below", xref: "x", yref: "paper",
        x0: span.x0, x1: span.x1, y0: 0, y1: 1, line: { width: 0 },
        fillcolor: span.kind === "outage" ? theme.bad : theme.muted,
        opacity: span.kind === "outage" ? 0.2 : 0.1,
        name: span.kind,
      };
    });
    var levels = chart.levels.map(function (level) {
      return {
        type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: level.y, y1: level.y,
        line: { color: theme.bad, width: 1.3, dash: "dash" }, name: "level",
      };
    });
    var moments = chart.moments.map(function (moment) {
      return {
        type: "line", xref: "x", yref: "paper", x0: moment.x, x1: moment.x, y0: 0, y1: 1,
        line: {
          color: theme.ink, width: moment.kind === "switch" ? 1.5 : 1,
          dash: moment.kind === "switch" ? "solid" : "dot",
        },
        name: moment.kind,
      };
    });
    return spans.concat(levels, moments);
  }

  function note(theme, text, place) {
    var base = {
      text: plain(text), showarrow: false, borderpad: 1,
      font: { size: 11, color: theme.ink },
    };
    return Object.assign(base, place);
  }

  function annotations(chart, theme) {
    var title = note(theme, chart.y.title, {
      xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom",
      xshift: -34, yshift: 16, font: { size: 12, color: theme.muted },
    });
    var levels = chart.levels.map(function (level) {
      return note(theme, level.text, {
        xref: "paper", yref: "y", x: 1, xanchor: "right", yanchor: "bottom",
        y: chart.y.log ? Math.log10(level.y) : level.y, font: { size: 11, color: theme.bad },
      });
    });
    var last = chart.x.high;
    var moments = chart.moments.filter(function (moment) {
      return moment.text;
    }).map(function (moment) {
      return note(theme, moment.text, {
        xref: "x", yref: "paper", x: moment.x, y: 1, yanchor: "bottom",
        xanchor: moment.x < 0.04 * last ? "left" : moment.x > 0.96 * last ? "right" : "center",
      });
    });
    return [title].concat(levels, moments);
  }

  function valueRange(chart) {
    var y = chart.y;
    if (y.low === null || y.high === null) return undefined;
    var values = [y.low, y.high];
    chart.levels.forEach(function (level) {
      values.push(level.y / 1.1, level.y * 1.3);
    });
    var range = [Math.min.apply(null, values), Math.max.apply(null, values)];
    return y.log ? range.map(Math.log10) : range;
  }

  // Over more than some two decades there is no room for more than the powers of ten.
  function decades(chart) {
    var values = [];
    chart.series.forEach(function (series) {
      series.y.forEach(function (one) { if (one > 0) values.push(Math.log10(one)); });
    });
    chart.levels.forEach(function (level) { values.push(Math.log10(level.y)); });
    var low = Infinity, high = -Infinity;
    values.forEach(function (one) { low = Math.min(low, one); high = Math.max(high, one); });
    return high - low;
  }

  function layout(chart, theme) {
    var axis = {
      gridcolor: theme.grid, linecolor: theme.line, zeroline: false, automargin: true,
      tickfont: { color: theme.muted }, title: { font: { size: 12, color: theme.muted }, standoff: 8 },
      fixedrange: narrow.matches,
    };
    var x = Object.assign({}, axis, {
      range: [chart.x.low, chart.x.high], hoverformat: ".3~f", showline: true,
      title: Object.assign({ text: plain(chart.x.title) }, axis.title),
    });
    if (chart.x.ticks.length) {
      // Where it is narrow, the first two would run into each other.
      var ticks = narrow.matches ? chart.x.ticks.slice(1) : chart.x.ticks;
      x.tickmode = "array";
      x.tickangle = 0;
      x.tickvals = ticks.map(function (tick) { return tick[0]; });
      x.ticktext = ticks.map(function (tick) { return plain(tick[1]); });
    }
    var y = Object.assign({}, axis, {
      type: chart.y.log ? "log" : "linear", exponentformat: "none", nticks: 8,
      rangemode: chart.y.low === 0 ? "tozero" : "normal", range: valueRange(chart),
    });
    if (chart.y.log) y.dtick = decades(chart) > 2.3 ? 1 : "D2";
    return {
      autosize: true, height: HEIGHT, uirevision: "zoomed",
      margin: { l: narrow.matches ? 40 : 48, r: 12, t: 44, b: 40 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: theme.font, size: 12, color: theme.ink },
      hovermode: chart.kind === "time" ? "x unified" : "closest",
      hoverdistance: chart.kind === "time" ? -1 : 30,
      hoverlabel: {
        bgcolor: theme.panel, bordercolor: theme.line, namelength: -1,
        font: { family: theme.font, size: 12, color: theme.ink },
      },
      legend: { orientation: "h", x: 0, y: -0.22, yanchor: "top", font: { color: theme.ink } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.muted, activecolor: theme.ink },
      xaxis: x, yaxis: y, dragmode: narrow.matches ? false : "zoom",
      shapes: shapes(chart, theme), annotations: annotations(chart, theme),
    };
  }

  var config = {
    responsive: true, displayModeBar: "hover", displaylogo: false, showTips: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };

  function draw(width) {
    var theme = readTheme();
    drawn.forEach(function (one) {
      var traces = one.chart.series.map(function (series) {
        return trace(series, one.chart, theme);
      });
      var plan = layout(one.chart, theme);
      if (width) Object.assign(plan, { width: width, height: PAPER_HEIGHT });
      Plotly.react(one.div, traces, plan, config);
    });
  }

  // Charts over time are zoomed together.
  var following = false;
  function follow(source) {
    source.div.on("plotly_relayout", function (change) {
      var zoomed = Object.keys(change).some(function (key) {
        return key.indexOf("xaxis.range") === 0 || key === "xaxis.autorange";
      });
      if (following || !zoomed) return;
      following = true;
      var range = source.div.layout.xaxis.range.slice();
      Promise.all(drawn.filter(function (one) {
        return one !== source && one.chart.kind === "time";
      }).map(function (one) {
        return Plotly.relayout(one.div, { "xaxis.range": range.slice() });
      })).then(function () {
        following = false;
      });
    });
  }

  var opened = [];
  window.addEventListener("beforeprint", function () {
    root.classList.add("paper");
    opened = Array.prototype.filter.call(document.querySelectorAll("details"), function (one) {
      return !one.open;
    });
    opened.forEach(function (one) { one.open = true; });
    draw(PAPER_WIDTH);
  });
  window.addEventListener("afterprint", function () {
    root.classList.remove("paper");
    opened.forEach(function (one) { one.open = false; });
    draw();
  });
  narrow.addEventListener("change", function () { draw(); });
  dark.addEventListener("change", function () { draw(); });

  draw();
  drawn.forEach(function (one) {
    if (one.chart.kind === "time") follow(one);
  });
  root.dataset.drawn = String(drawn.length);
})();
