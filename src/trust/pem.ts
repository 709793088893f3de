import { decodeBase64 } from './base64.ts';
/** One block of a PEM file (RFC 7468). */
export interface PemBlock {
  /** What stands after BEGIN: `PUBLIC KEY`, `CERTIFICATE`. */
  readonly label: string;
  readonly der: Uint8Array;
}

const BOUNDARY = /^-----(BEGIN|END) ([A-Z0-9][A-Z0-9 ]{0,60})-----$/;

/** Whether a text has a PEM block of any kind. */
export function isPem(text: string): boolean {
  return /^-----BEGIN /m.test(text);
}

/** Whether a label is that of a secret: `RSA PRIVATE KEY`, `ENCRYPTED SIGSTORE PRIVATE KEY`. */
export function isSecretLabel(label: string): boolean {
  return label.includes('PRIVATE');
}

/** The labels of all blocks of a text, also of broken ones: asked before anything is parsed. */
export function pemLabels(text: string): string[] {
  return Array.from(text.matchAll(/-----BEGIN ([^-\n]{1,80})-----/g), ([, label = '']) => label);
}

/**
 * Every block of a text, in order; what stands around them is explanatory and ignored, as RFC 7468
 * section 2 has it. Headers inside a block (RFC 1421) are not taken: only secret keys have them.
 *
 * @returns the blocks, or a word about what is wrong with one.
 */
export function pemBlocks(text: string): PemBlock[] | string {
  const blocks: PemBlock[] = [];
  let open: { label: string; lines: string[] } | undefined;
  for (const line of text.split('\n').map((raw) => raw.trim())) {
    const [, boundary, label = ''] = BOUNDARY.exec(line) ?? [];
    if (boundary === 'BEGIN') {
      if (open !== undefined) return `its ${open.label} is truncated`;
      open = { label, lines: [] };
    } else if (boundary === 'END') {
      if (open?.label !== label) return `its ${label} has no beginning`;
      const der = decodeBase64(open.lines.join(''));
      if (der === undefined || der.length === 0) return `its ${label} is not base64`;
      blocks.push({ label, der });
      open = undefined;
    } else {
      open?.lines.push(line);
    }
  }
  return open === undefined ? blocks : `its ${open.label} is truncated`;
}
