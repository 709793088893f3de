/** @throws Error saying what was expected and what came */
export function requireSame(actual: unknown, expected: unknown, what: string): void {
  if (JSON.stringify(actual) === JSON.stringify(expected)) return;
  throw new Error(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
}

/** @throws Error with `why` unless the condition holds */
export function requireThat(condition: boolean, why: string): asserts condition {
  if (!condition) throw new Error(why);
}

/** @throws Error unless the text is of that form */
export function requireForm(actual: string | undefined, form: RegExp, what: string): void {
  if (actual !== undefined && form.test(actual)) return;
  throw new Error(`${what}: ${JSON.stringify(actual) ?? 'nothing'} instead of ${form}`);
}
