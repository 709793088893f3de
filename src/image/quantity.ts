/** An amount of a resource, in thousandths of its unit (a byte, a core, …): exact, never rounded down. */
export interface Quantity {
  readonly milli: bigint;
}

const scales = new Map<string, bigint>([
  ['m', 1n],
  ['', 1000n],
  ['k', 1000n ** 2n],
  // appc's prose writes K, its reader k.
  ['K', 1000n ** 2n],
  ['M', 1000n ** 3n],
  ['G', 1000n ** 4n],
  ['T', 1000n ** 5n],
  ['P', 1000n ** 6n],
  ['E', 1000n ** 7n],
  ['Ki', 1000n * 1024n],
  ['Mi', 1000n * 1024n ** 2n],
  ['Gi', 1000n * 1024n ** 3n],
  ['Ti', 1000n * 1024n ** 4n],
  ['Pi', 1000n * 1024n ** 5n],
  ['Ei', 1000n * 1024n ** 6n],
]);

/** No machine has more of anything than this, in units: what fits the kernel's signed 64 bits. */
const largest = (2n ** 63n - 1n) * 1000n;

/**
 * A quantity as resource isolators write it (appc spec/ace.md, "Resource Isolators"): decimal digits
 * with a metric or binary suffix, `m` for thousandths, or an exponent. Undefined where it is none, is
 * negative, or exceeds 2^63-1.
 */
export function parseQuantity(text: string): Quantity | undefined {
  const match =
    /^\+?(\d{1,30})?(?:\.(\d{0,30}))?(?:[eE]([-+]?\d{1,2})|([kKMGTPEm]|[KMGTPE]i)?)$/.exec(text);
  const [, whole = '', fraction = '', exponent = '0', suffix = ''] = match ?? [];
  const scale = scales.get(suffix);
  if (match === null || scale === undefined || whole + fraction === '') return undefined;
  const power = Number(exponent) - fraction.length;
  const scaled = BigInt(whole + fraction) * scale;
  const milli =
    power >= 0 ? scaled * 10n ** BigInt(power) : divideUp(scaled, 10n ** BigInt(-power));
  return milli > largest ? undefined : { milli };
}

/** In whole units (bytes, operations), rounded up. */
export function wholeUnits(quantity: Quantity): bigint {
  return divideUp(quantity.milli, 1000n);
}

function divideUp(amount: bigint, by: bigint): bigint {
  return (amount + by - 1n) / by;
}
