import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from './installation.ts';
import type { OciBlob } from './oci-image.ts';
import { findProgram } from './requirements.ts';

/** Who signs: gpg's home directory and the key's fingerprint in it. */
export interface SimpleSigner {
  readonly home: string;
  readonly fingerprint: string;
}

/** What a test needs of the host; for `needs(context, program(simpleSigningProgram))`. */
export const simpleSigningProgram = 'skopeo';

/**
 * An OpenPGP simple signature by `skopeo standalone-sign` (containers/image, docs/containers-signature.5.md).
 *
 * @param reference the identity to be signed, `localhost:5000/team/app:1`; it need not be true
 */
export async function simpleSignature(
  { home, fingerprint }: SimpleSigner,
  manifest: OciBlob,
  reference: string,
): Promise<Buffer> {
  const directory = mkdtempSync(join(home, 'sign-'));
  try {
    const [input, output] = [join(directory, 'manifest'), join(directory, 'signature')];
    writeFileSync(input, manifest.bytes);
    const args = ['standalone-sign', `--output=${output}`, input, reference, fingerprint];
    const skopeo = findProgram(simpleSigningProgram) ?? simpleSigningProgram;
    const environment = { GNUPGHOME: home };
    const { code, stderr } = await runCommand({ words: [skopeo, ...args], environment });
    if (code !== 0) throw new Error(`skopeo ${args.join(' ')}: exit ${code}: ${stderr}`);
    return readFileSync(output);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/**
 * Adds a signature to a lookaside store (containers/image, docs/signature-protocols.md): below
 * `directory`, `team/app@sha256=HEX/signature-N`, N counted from one without a gap.
 */
export function storeSignature(
  directory: string,
  repositoryPath: string,
  digest: string,
  signature: Uint8Array,
): void {
  const folder = join(directory, `${repositoryPath}@${digest.replace(':', '=')}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `signature-${readdirSync(folder).length + 1}`), signature);
}
