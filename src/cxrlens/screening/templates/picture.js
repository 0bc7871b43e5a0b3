"use strict";
// A radiograph's values, as the server gives them at full depth or as its preview has them, and how they become shades.
//
// A level is a whole number of up to 16 bits, and `slope * level + intercept` its value. What else is known of a picture
// are the fields of the server's line of JSON: width, height, exact, padding, inverse, window, table, windows, spacing ...

const SHADES = 255; // of the screen
const BINS = 65536;

class Picture {
  // From the server's answer: a line of JSON, then the levels, little-endian as all machines that browsers run on.
  static parsed(buffer) {
    const end = new Uint8Array(buffer).indexOf(10);
    const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 0, end)));
    return new Picture(about, new Uint16Array(buffer, end + 1, about.width * about.height));
  }

  // From an <img>: greys of 8 bits, as they were displayed.
  static ofPreview(shown) {
    const canvas = canvasOf(shown);
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const levels = new Uint16Array(width * height);
    for (let i = 0; i < levels.length; i += 1) levels[i] = data[4 * i];
    const window = { centre: SHADES / 2, width: SHADES, function: "LINEAR_EXACT", explanation: "" };
    return new Picture({
      width, height, slope: 1, intercept: 0, exact: false, padding: null, inverse: false, window, table: null, windows: [],
      spacing: null, bits: 8, isPreview: true,
    }, levels);
  }

  constructor(about, levels) {
    Object.assign(this, about);
    this.sizes = [{ width: about.width, height: about.height, factor: 1, levels }];
    this.counts = new Uint32Array(BINS);
    for (let i = 0; i < levels.length; i += 1) this.counts[levels[i]] += 1;
    if (this.padding !== null) this.counts[this.padding] = 0;
    this.lowest = Math.max(this.counts.findIndex((count) => count > 0), 0);
    this.highest = Math.max(this.counts.findLastIndex((count) => count > 0), 0);
  }

  // The picture at full size or halved, so often that it is still so many pixels wide. Each halving is of means.
  atLeast(width) {
    let size = this.sizes[0];
    for (let place = 1; size.width >= 2 * width && Math.min(size.width, size.height) > 1; place += 1) {
      this.sizes[place] ??= halved(size, this.padding);
      size = this.sizes[place];
    }
    return size;
  }

  valueOf(level) {
    return this.slope * level + this.intercept;
  }

  // The value at a column and a row; null outside of the picture, and where the pixel only fills the frame.
  valueAt(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return null;
    const level = this.sizes[0].levels[y * this.width + x];
    return level === this.padding ? null : this.valueOf(level);
  }

  // The window of the picture before anybody changes it; of a table, all values.
  get start() {
    return this.window ?? this.whole;
  }

  get whole() {
    return windowFrom(this.valueOf(this.lowest), this.valueOf(this.highest), this.narrowest("LINEAR_EXACT"));
  }

  // The window of the values that lie between two shares of the pixels.
  between(low, high) {
    const all = this.counts.reduce((sum, count) => sum + count, 0);
    const ends = [low, high].map((share) => {
      let below = 0;
      return Math.min(Math.max(this.counts.findIndex((count) => (below += count) > share * (all - 1)), this.lowest), this.highest);
    });
    return windowFrom(this.valueOf(ends[0]), this.valueOf(ends[1]), this.narrowest("LINEAR_EXACT"));
  }

  // The least width that a window can have and still show something.
  narrowest(kind) {
    return kind === "LINEAR" ? 1 : Math.abs(this.slope);
  }

  // What another picture's window is in this one, which shows the same with other values.
  taken({ centre, width }, from) {
    const sign = this.inverse === from.inverse ? 1 : -1;
    return {
      centre: this.start.centre + (sign * (centre - from.start.centre) * this.start.width) / from.start.width,
      width: Math.max((width * this.start.width) / from.start.width, this.narrowest("LINEAR_EXACT")),
      function: "LINEAR_EXACT",
    };
  }

  // The shade of each level under a window; null is that of the file.
  shades(window, invert) {
    const shades = new Uint8ClampedArray(BINS);
    const shown = window ?? this.window;
    const top = this.padding === null ? this.highest : Math.max(this.highest, this.padding);
    for (let level = 0; level <= top; level += 1) {
      const shade = shown ? SHADES * share(shown, this.valueOf(level), this.inverse) : this.table[Math.min(level, this.table.length - 1)];
      shades[level] = invert ? SHADES - shade : shade;
    }
    if (this.padding !== null) shades[this.padding] = 0;
    return shades;
  }
}

// The place of a value in a window, from 0, black, to 1, white (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).
function share({ centre, width, function: kind }, value, inverse) {
  let place;
  if (kind === "SIGMOID") place = 1 / (1 + Math.exp((-4 * (value - centre)) / width));
  else {
    const [middle, wide] = kind === "LINEAR" ? [centre - 0.5, width - 1] : [centre, width];
    place = wide ? Math.min(Math.max((value - middle) / wide + 0.5, 0), 1) : Number(value > middle);
  }
  return inverse ? 1 - place : place;
}

function windowFrom(one, other, narrowest) {
  const [low, high] = [Math.min(one, other), Math.max(one, other)];
  return { centre: (low + high) / 2, width: Math.max(high - low, narrowest), function: "LINEAR_EXACT" };
}

// A picture of half the width and height, each level the mean of four; those that only fill the frame do not count.
function halved({ width, height, factor, levels }, padding) {
  const [columns, rows] = [Math.max(Math.floor(width / 2), 1), Math.max(Math.floor(height / 2), 1)];
  const half = new Uint16Array(columns * rows);
  const [right, down] = [width > 1 ? 1 : 0, height > 1 ? width : 0];
  for (let row = 0, to = 0; row < rows; row += 1) {
    for (let from = 2 * row * width, column = 0; column < columns; column += 1, from += 2, to += 1) {
      const [a, b, c, d] = [levels[from], levels[from + right], levels[from + down], levels[from + right + down]];
      if (padding === null) half[to] = (a + b + c + d + 2) >> 2;
      else half[to] = meanOf([a, b, c, d].filter((level) => level !== padding), padding);
    }
  }
  return { width: columns, height: rows, factor: 2 * factor, levels: half };
}

function meanOf(levels, otherwise) {
  return levels.length ? Math.round(levels.reduce((sum, level) => sum + level, 0) / levels.length) : otherwise;
}
