import { GantryError } from '../error.ts';
import { parseDocument } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import type { ResponseHead } from './exchange.ts';
import { shownTarget } from './location.ts';

/** More errors than this say nothing new. */
const SHOWN_ERRORS = 3;

/**
 * An answer that is not the one hoped for, with what the registry says of it.
 *
 * @param what failed: `docker://host/path: the manifest "1.2"`
 * @param body of the answer, as far as it was read
 */
export function registryFailure(
  what: string,
  head: ResponseHead,
  body: Uint8Array,
  advice = '',
): GantryError {
  const said = explanationOf(body);
  const from = said === '' ? ` from ${shownTarget(head.url)}` : '';
  return new GantryError(
    'network',
    `${what}: status ${head.status}${from}${said === '' ? '' : `: ${said}`}${advice}`,
  );
}

/** The errors of a registry (distribution-spec, "Error Codes") in one line; empty where it says none. */
export function explanationOf(body: Uint8Array): string {
  if (body.length === 0) return '';
  try {
    const root = parseDocument(body, { what: 'answer', code: 'network', confidential: true });
    const errors = root.member('errors').list().slice(0, SHOWN_ERRORS);
    return errors
      .map((error) => {
        const code = error.member('code').string();
        const message = error.member('message').optional((field) => field.string());
        const shown = /^[A-Z_]{1,40}$/.test(code) ? code : quote(code);
        return message ? `${shown}: ${quote(message)}` : shown;
      })
      .join(', ');
  } catch {
    // An error page of something in between; its status says enough.
    return '';
  }
}
