// PNG files: images enlarged without smoothing, rows with their labels, and what made them as text in the file.

const GAP = 2;

/** rows: [{ label, images: [ImageData] }] -> a canvas; images are about `side` pixels wide. */
export function sheet(rows, side) {
  const size = rows[0].images[0].width;
  const cell = size * Math.max(1, Math.floor(side / size));
  const measure = document.createElement("canvas").getContext("2d");
  const font = "16px sans-serif";
  measure.font = font;
  const single = rows.length === 1 && rows[0].images.length === 1;
  const margin = single ? 0 : 20 + Math.ceil(Math.max(...rows.map((row) => measure.measureText(row.label).width)));
  const gap = single ? 0 : GAP;
  const columns = Math.max(...rows.map((row) => row.images.length));
  const canvas = document.createElement("canvas");
  canvas.width = margin + columns * (cell + gap) + gap;
  canvas.height = rows.length * (cell + gap) + gap;
  const to = canvas.getContext("2d");
  to.fillStyle = "#ffffff";
  to.fillRect(0, 0, canvas.width, canvas.height);
  to.imageSmoothingEnabled = false;
  Object.assign(to, { font, textAlign: "right", textBaseline: "middle", fillStyle: "#222222" });
  const one = document.createElement("canvas");
  one.width = one.height = size;
  rows.forEach((row, r) => {
    const y = gap + r * (cell + gap);
    if (!single) to.fillText(row.label, margin - 10, y + cell / 2);
    row.images.forEach((image, i) => {
      one.getContext("2d").putImageData(image, 0, 0);
      to.drawImage(one, margin + gap + i * (cell + gap), y, cell, cell);
    });
  });
  return canvas;
}

/** Saves a canvas under `name`, with `about` (key -> text) as text chunks of the PNG. */
export async function save(canvas, name, about) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const content = withText(new Uint8Array(await blob.arrayBuffer()), about);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "image/png" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A PNG file with iTXt chunks (PNG specification, 11.3.4.5) in front of its last chunk. */
export function withText(png, about) {
  const encoder = new TextEncoder();
  const chunks = Object.entries(about).map(([key, text]) =>
    chunk("iTXt", [...encoder.encode(key), 0, 0, 0, 0, 0, ...encoder.encode(String(text))]));
  const end = png.length - 12; // IEND
  const parts = [png.subarray(0, end), ...chunks, png.subarray(end)];
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function chunk(kind, bytes) {
  const data = new Uint8Array(12 + bytes.length);
  const view = new DataView(data.buffer);
  view.setUint32(0, bytes.length);
  data.set(new TextEncoder().encode(kind), 4);
  data.set(bytes, 8);
  view.setUint32(8 + bytes.length, crc32(data.subarray(4, 8 + bytes.length)));
  return data;
}

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
