import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';

/**
 * `NAME=VALUE`, the value of `option`.
 * @param form what help calls it
 * @throws GantryError `usage`
 */
export function parsePair(
  text: string,
  option: string,
  form = 'NAME=VALUE',
): [name: string, value: string] {
  const equals = text.indexOf('=');
  if (equals < 1) throw new GantryError('usage', `${option}: ${quote(text)} is not ${form}`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

/**
 * What an option that may be repeated says, by name; of a name that is given twice the last counts.
 * @throws GantryError `usage`
 */
export function parsePairs(values: unknown, option: string): Map<string, string> {
  return new Map(((values ?? []) as string[]).map((text) => parsePair(text, option)));
}
