import { decodeBase64 } from './base64.ts';
/** One base64 block between its `-----BEGIN` and `-----END` lines. */
export interface ArmorBlock {
  /** What the block says it is, for example `PGP PUBLIC KEY BLOCK`. */
  readonly label: string;
  readonly bytes: Uint8Array;
}

const BOUNDARY = /^-----(BEGIN|END) (PGP [A-Z ,/0-9]{1,40})-----$/;

/** Whether bytes are OpenPGP packets as they are: a packet's first octet has its top bit set. */
export function isBinary(bytes: Uint8Array): boolean {
  return ((bytes[0] ?? 0) & 0x80) !== 0;
}

/**
 * Every armored block of a text (RFC 9580 section 6), in order; what stands around them is
 * ignored, as gpg does. The checksum line is skipped: section 6.1 forbids trusting it, and a
 * changed byte is found by the signatures inside.
 *
 * @returns the blocks, or a word about what is wrong with one.
 */
export function armorBlocks(text: string): ArmorBlock[] | string {
  const blocks: ArmorBlock[] = [];
  let open: { label: string; lines: string[] } | undefined;
  for (const line of text.split('\n').map((raw) => raw.trimEnd())) {
    const [, boundary, label = ''] = BOUNDARY.exec(line) ?? [];
    if (boundary === 'BEGIN') {
      open = { label, lines: [] };
    } else if (boundary === 'END' && open?.label === label) {
      const bytes = decodeBase64(dataLines(open.lines).join(''));
      if (bytes === undefined || bytes.length === 0) {
        return `its armored ${label} is not base64`;
      }
      blocks.push({ label, bytes });
      open = undefined;
    } else {
      open?.lines.push(line);
    }
  }
  return open === undefined ? blocks : `its armored ${open.label} is truncated`;
}

/** The base64 lines: after the armor headers and the blank line that ends them, before `=CRC24`. */
function dataLines(lines: readonly string[]): string[] {
  const blank = lines.indexOf('');
  const data = lines[0]?.includes(':') ? lines.slice(blank < 0 ? lines.length : blank) : lines;
  return data.filter((line) => line !== '' && !/^=[A-Za-z0-9+/]{4}$/.test(line));
}
