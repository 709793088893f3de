import type { TrustedKey } from '../trust/keystore.ts';
import { describeKey, type KeyDescription } from '../trust/review.ts';
import { loadTrustedKey } from '../trust/trusted-key-kind.ts';

/** A key that is in force, and what there is to know of it. */
export interface ShownKey {
  readonly trusted: TrustedKey;
  readonly description: KeyDescription;
}

/** Reads and describes keys. Throws `bad-key` and `permission`, naming the file. */
export async function describeTrustedKeys(keys: readonly TrustedKey[]): Promise<ShownKey[]> {
  return await Promise.all(
    keys.map(async (trusted) => {
      const description = await describeKey(await loadTrustedKey(trusted), trusted.fingerprint);
      return { trusted, description };
    }),
  );
}

/** Whose a key is, on one line. */
export function whoText(key: KeyDescription): string {
  switch (key.kind) {
    case 'openpgp':
      return key.userIds[0] ?? key.algorithm;
    case 'sigstore-key':
      return key.algorithm;
    case 'sigstore-identity':
      return `${key.subject} (${key.issuer})`;
    case 'x509':
      return key.subject;
  }
}

/** A key as `--format json` has it, everywhere it is listed. */
export function keyJson({ trusted, description }: ShownKey) {
  return { ...description, rule: trusted.rule, path: trusted.path };
}
