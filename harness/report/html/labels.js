// Names beside the points of a plot, so placed that none covers another or a point.

const LETTER = 6.4; // pixels of one, on average, at the size that names have
const LINE = 14;
const POINT = 12;

/**
 * Names as plotly's annotations. `points` are {x, y, text}, the most important first, in the axes' own
 * units (of a logarithmic one: powers of ten); `frame` is {x: [from, to], y: [from, to], width,
 * height}, the latter in pixels. A name that finds no place nearby has none.
 */
function placeNames(points, frame) {
  const spots = points.map((point) => ({ ...point, ...pixels(point, frame) }));
  const taken = spots.map(({ left, top }) => around(left, top, POINT, POINT));
  return spots
    .filter(({ text }) => text)
    .flatMap((spot) => {
      const width = spot.text.length * LETTER;
      const found = offsets(width)
        .map(([dx, dy]) => ({ dx, dy, box: around(spot.left + dx, spot.top + dy, width, LINE) }))
        .find(({ box }) => inside(box, frame) && !taken.some((other) => meet(box, other)));
      if (found) taken.push(found.box);
      return found ? [annotation(spot, found)] : [];
    });
}

function pixels({ x, y }, { x: [west, east], y: [south, north], width, height }) {
  return {
    left: ((x - west) / (east - west)) * width,
    top: ((north - y) / (north - south)) * height,
  };
}

function around(left, top, width, height) {
  return { left: left - width / 2, right: left + width / 2, top: top - height / 2, bottom: top + height / 2 };
}

const inside = (box, { width, height }) =>
  box.left >= 0 && box.right <= width && box.top >= 0 && box.bottom <= height;
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** Where a name may stand, from its point: above first, where no front's line goes, then further away. */
function offsets(width) {
  const beside = width / 2 + POINT;
  return [0, 1, 2, 3, 4, 5, 6].flatMap((step) => {
    const far = step * LINE;
    const [up, down] = [-LINE - far, LINE + far];
    const level = step ? [] : [beside, -beside].map((dx) => [dx, 0]);
    const rows = [up, down].flatMap((dy) => [0, beside, -beside].map((dx) => [dx, dy]));
    return [...rows, ...level];
  });
}

function annotation({ x, y, text, left }, { dx, dy, box }) {
  const far = Math.abs(dy) > 1.5 * LINE;
  const own = { x, y, text: label(text), font: { size: 11 } };
  const xanchor = dx > 0 ? "left" : dx < 0 ? "right" : "center"; // its near side is where it was put
  const edge = (dx > 0 ? box.left : dx < 0 ? box.right : left) - left;
  if (!far) return { ...own, showarrow: false, xanchor, xshift: edge, yshift: -dy };
  return {
    ...own,
    ax: edge,
    ay: dy,
    xanchor,
    arrowhead: 0,
    arrowwidth: 0.7,
    arrowcolor: palette().grey,
    standoff: 5,
  };
}
