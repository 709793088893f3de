import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';

/** The real-time signals, as programs count them on Linux: glibc keeps the kernel's first two (signal(7)). */
const SIGRTMIN = 34;
const SIGRTMAX = 64;

/**
 * The number of the signal that asks an app to end (image-spec config.md, `StopSignal`): `SIGQUIT`,
 * `QUIT`, `SIGRTMIN+3`, `SIGRTMAX-1` or a number, in letters of either case.
 * @param where names the app, for messages
 * @throws GantryError `launch` naming what is no signal
 */
export function stopSignalNumber(text: string, where: string): number {
  const number = /^\d{1,2}$/.test(text) ? Number(text) : signalNamed(text.toUpperCase());
  if (number !== undefined && number >= 1 && number <= SIGRTMAX) return number;
  throw new GantryError(
    'launch',
    `${where}: the image's stop signal ${quote(text)} is no signal of Linux: pack it anew with another`,
  );
}

function signalNamed(text: string): number | undefined {
  const name = text.startsWith('SIG') ? text : `SIG${text}`;
  // Loaded for the few images that name one.
  const { signals } = process.getBuiltinModule('node:os').constants;
  const known = Object.entries(signals).find(([signal]) => signal === name);
  if (known !== undefined) return known[1];
  const [, end, sign, offset = '0'] = /^SIGRT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name) ?? [];
  if (end === undefined) return undefined;
  const number = end === 'MIN' ? SIGRTMIN + Number(offset) : SIGRTMAX - Number(offset);
  const away = end === 'MIN' ? '+' : '-';
  return sign === undefined || sign === away ? number : undefined;
}
