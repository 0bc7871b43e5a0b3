"use strict";
// Grey maps in colour: matplotlib's "plasma" at 17 places, fading out towards low values as in the other figures.

const PLASMA = [
  [13, 8, 135], [49, 5, 151], [76, 2, 161], [102, 0, 167], [126, 3, 168], [149, 17, 161], [170, 35, 149], [188, 53, 135],
  [204, 71, 120], [218, 90, 106], [230, 108, 92], [240, 128, 78], [248, 149, 64], [253, 172, 51], [253, 197, 39],
  [248, 223, 37], [240, 249, 33],
];

// [red, green, blue, opacity] of a value in [0, 255].
function colourOf(value) {
  const place = (value / 255) * (PLASMA.length - 1);
  const low = Math.min(Math.floor(place), PLASMA.length - 2);
  const mixed = PLASMA[low].map((part, i) => part + (place - low) * (PLASMA[low + 1][i] - part));
  return [...mixed, 255 * Math.min(Math.max(-0.15 + (1.65 * value) / 255, 0), 1)];
}

const COLOURS = Array.from({ length: 256 }, (_, value) => colourOf(value));

// A canvas of the map's size from an image of it.
function coloured(map) {
  const canvas = canvasOf(map);
  recolour(canvas, (value) => COLOURS[value]);
  return canvas;
}

function canvasOf(picture) {
  const canvas = make("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(picture, 0, 0);
  return canvas;
}

function recolour(canvas, colour) {
  const context = canvas.getContext("2d");
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Uint8ClampedArray(1024);
  for (let value = 0; value < 256; value += 1) colours.set(colour(value), 4 * value);
  const to = new Uint32Array(pixels.data.buffer);
  const from = new Uint32Array(colours.buffer);
  for (let i = 0; i < to.length; i += 1) to[i] = from[pixels.data[4 * i]];
  context.putImageData(pixels, 0, 0);
}
