// Latents from seeds, as sngan_hub/sampling/generate.py and morph.py compute them; docs/static-page.md specifies both.
// Random bits come from Philox 4x64-10, normal numbers from them by inverse CDF. The latent of image i depends on
// (seed, i) alone.

const MASK = (1n << 64n) - 1n;
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const STEPS = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
export const MAX_SEED = (1n << 63n) - 1n;
const CIRCLES = 3;

/** Four 64-bit words of block `block` (0, 1, ...) of Philox 4x64-10 (Salmon et al. 2011), with NumPy's counter, which
 * starts at 1. `key`: two BigInts. */
export function philoxBlock(key, block) {
  let [a, b, c, d] = [(BigInt(block) + 1n) & MASK, 0n, 0n, 0n];
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const p = a * MULTIPLIERS[0];
    const q = c * MULTIPLIERS[1];
    [a, b, c, d] = [(q >> 64n) ^ b ^ k0, q & MASK, (p >> 64n) ^ d ^ k1, p & MASK];
    k0 = (k0 + STEPS[0]) & MASK;
    k1 = (k1 + STEPS[1]) & MASK;
  }
  return [a, b, c, d];
}

/** Image `index` of `seed` (BigInt) -> zDim + 1 numbers in (0, 1): the label's, then those of z. */
export function uniforms(seed, index, zDim) {
  const blocks = Math.ceil((zDim + 1) / 4);
  const found = new Float64Array(4 * blocks);
  for (let i = 0; i < blocks; i++) {
    philoxBlock([seed, 0n], index * blocks + i).forEach((word, k) => {
      found[4 * i + k] = Math.min((Number(word >> 11n) + 0.5) * 2 ** -53, 1 - 2 ** -53); // never 1
    });
  }
  return found.subarray(0, zDim + 1);
}

const kept = new Map(); // uniforms of the images on the page: a slider that moves needs the same ones again

function keptUniforms(seed, index, zDim) {
  const key = `${seed}/${index}/${zDim}`;
  if (!kept.has(key)) {
    if (kept.size > 2000) kept.clear();
    kept.set(key, uniforms(seed, index, zDim));
  }
  return kept.get(key);
}

/** z of image `index` of `seed` (BigInt): Float32Array (zDim). `truncation` t > 0: the normal restricted to |z| < t. */
export function latent(seed, index, zDim, truncation = 0) {
  const u = keptUniforms(seed, index, zDim);
  const low = truncation > 0 ? normalCdf(-truncation) : 0;
  const z = new Float32Array(zDim);
  for (let i = 0; i < zDim; i++) z[i] = normalQuantile(low + u[i + 1] * (1 - 2 * low));
  return z;
}

const ratio = (x, above, below) =>
  above.reduceRight((sum, a) => sum * x + a) / below.reduceRight((sum, b) => sum * x + b);

// Wichura 1988, algorithm AS 241 (PPND16): relative error about 1e-16
const CENTRE = [
  [3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
    45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727],
  [1, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077, 21213.794301586595867,
    39307.89580009271061, 28729.085735721942674, 5226.495278852854561],
];
const MIDDLE = [
  [1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
    1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833, 7.7454501427834140764e-4],
  [1, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455, 0.14810397642748007459,
    0.0151986665636164571966, 5.475938084995344946e-4, 1.05075007164441684324e-9],
];
const TAIL = [
  [6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 0.29656057182850489123,
    0.026532189526576123093, 1.2426609473880784386e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7],
  [1, 0.59983220655588793769, 0.13692988092273580531, 0.0148753612908506148525, 7.868691311456132591e-4,
    1.8463183175100546818e-5, 1.4215117583164458887e-7, 2.04426310338993978564e-15],
];

/** Inverse CDF of the standard normal, for p in (0, 1). */
export function normalQuantile(p) {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) return q * ratio(0.180625 - q * q, ...CENTRE);
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  const z = r <= 5 ? ratio(r - 1.6, ...MIDDLE) : ratio(r - 5, ...TAIL);
  return q < 0 ? -z : z;
}

/** erf(x) for 0 <= x <= 6, by a series of positive terms (Abramowitz & Stegun 7.1.6). */
export function erf(x) {
  let term = x;
  let sum = x;
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

export const normalCdf = (x) => 0.5 + (x < 0 ? -0.5 : 0.5) * erf(Math.min(6, Math.abs(x) * Math.SQRT1_2));

/** Standard deviation of the normal restricted to |z| < t. */
export function truncatedDeviation(t) {
  const density = Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  return Math.sqrt(Math.max(0, 1 - (2 * t * density) / erf(Math.min(6, t * Math.SQRT1_2))));
}

/** Columns (each a Float64Array of n) -> orthonormal columns: the Q of a QR decomposition by Householder reflections,
 * with LAPACK's signs (each reflection makes the first entry change its sign). */
export function orthonormal(columns) {
  const n = columns[0].length;
  const left = columns.map((column) => Float64Array.from(column));
  const reflections = [];
  const reflect = (v, x, start) => {
    let dot = 0;
    for (let i = start; i < n; i++) dot += v[i] * x[i];
    for (let i = start; i < n; i++) x[i] -= 2 * dot * v[i];
  };
  left.forEach((column, k) => {
    const v = new Float64Array(n);
    let square = 0;
    for (let i = k; i < n; i++) square += column[i] * column[i];
    v.set(column.subarray(k), k);
    v[k] += (column[k] < 0 ? -1 : 1) * Math.sqrt(square);
    const length = Math.sqrt(v.reduce((sum, each) => sum + each * each, 0));
    for (let i = k; i < n; i++) v[i] /= length;
    reflections.push(v);
    for (let j = k; j < left.length; j++) reflect(v, left[j], k);
  });
  return columns.map((_, k) => {
    const q = new Float64Array(n);
    q[k] = 1;
    for (let j = reflections.length - 1; j >= 0; j--) reflect(reflections[j], q, j);
    return q;
  });
}

let axesOf = { key: "", axes: [] };

/** The point of a walk at `t` in [0, 1): Float32Array (zDim), on a closed curve whose radius is that of the latents. */
export function walkLatent(seed, t, zDim, truncation = 0) {
  const circles = Math.min(CIRCLES, Math.floor(zDim / 2));
  const key = `${seed}/${zDim}`;
  if (axesOf.key !== key) {
    const columns = Array.from({ length: 2 * circles }, (_, i) => Float64Array.from(latent(seed, i, zDim)));
    axesOf = { key, axes: orthonormal(columns) };
  }
  const radius = (Math.sqrt(zDim) * (truncation > 0 ? truncatedDeviation(truncation) : 1)) / Math.sqrt(circles);
  const z = new Float64Array(zDim);
  for (let k = 0; k < circles; k++) {
    const angle = 2 * Math.PI * t * (k + 1);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const [a, b] = [axesOf.axes[k], axesOf.axes[circles + k]];
    for (let i = 0; i < zDim; i++) z[i] += cos * a[i] + sin * b[i];
  }
  return Float32Array.from(z, (each) => each * radius);
}

/** Place 0 .. k - 1 on the way past k classes -> their weights: two neighbours' that sum to 1. */
export function between(k, place) {
  return Array.from({ length: k }, (_, i) => Math.max(0, 1 - Math.abs(place - i)));
}

/** [-1, 1] -> 0..255, truncated as sngan_hub's to_uint8 does. */
export function toByte(x) {
  return Math.trunc(Math.min(255, Math.max(0, Math.fround(Math.fround(x * 127.5) + 127.5))));
}
