/** Bytes of zstd windows at once: the most that one layer may take (layer-unpacking.ts). */
const windowBytes = 32 * 1024 * 1024;

/** The right to unpack. */
export interface WindowTurn {
  /** What has to be waited for, until it has come. */
  readonly ready: Promise<void> | undefined;
  /** Gives it back, or up. Harmless when repeated. */
  release(): void;
}

interface Asking {
  readonly bytes: number;
  granted: boolean;
  grant(): void;
}

/**
 * What the layers of one image that are unpacked at once may take for zstd windows together: three of
 * the largest would be half of all memory that a pull may take. Who asks first is first.
 */
export class WindowBudget {
  /** In order of asking; those that were granted as well. */
  readonly #asking: Asking[] = [];

  /** Asks for the window of an archive that begins with `start`. */
  ask(start: Uint8Array): WindowTurn {
    const { promise, resolve } = Promise.withResolvers<void>();
    const asking = { bytes: windowOf(start), granted: false, grant: resolve };
    this.#asking.push(asking);
    this.#grant();
    return {
      get ready() {
        return asking.granted ? undefined : promise;
      },
      release: () => {
        const at = this.#asking.indexOf(asking);
        if (at !== -1) this.#asking.splice(at, 1);
        asking.granted = true;
        asking.grant();
        this.#grant();
      },
    };
  }

  #grant(): void {
    let sum = 0;
    for (const asking of this.#asking) {
      sum += asking.bytes;
      // What takes nothing need not wait for who waits before it.
      if (sum > windowBytes && asking.bytes > 0) continue;
      asking.granted = true;
      asking.grant();
    }
  }
}

/** How much a decoder has to remember of an archive, in bytes: of zstd what its first frame says. */
function windowOf(start: Uint8Array): number {
  const view = Buffer.from(start.buffer, start.byteOffset, Math.min(start.length, 18));
  // The longest frame header; shorter archives need no bounds.
  if (view.length < 18) return 0;
  const magic = view.readUInt32LE(0);
  if ((magic & 0xfffffff0) >>> 0 === 0x184d2a50) return windowBytes;
  return magic === 0xfd2fb528 ? Math.min(windowOfFrame(view), windowBytes) : 0;
}

/** RFC 8878, 3.1.1.1: a frame in a single segment has no window but its content. */
function windowOfFrame(view: Buffer): number {
  const descriptor = view.readUInt8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (!isSingleSegment) {
    const window = view.readUInt8(5);
    const base = 2 ** (10 + (window >> 3));
    return base + (base / 8) * (window & 7);
  }
  const at = 5 + ([0, 1, 2, 4][descriptor & 3] ?? 0);
  switch (descriptor >> 6) {
    case 0:
      return view.readUInt8(at);
    case 1:
      return view.readUInt16LE(at) + 256;
    case 2:
      return view.readUInt32LE(at);
    default:
      return Number(view.readBigUInt64LE(at));
  }
}
