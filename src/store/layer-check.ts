import { layerDialect, placeInLayer, refusedEntry } from './entry-name.ts';
import type { TarEntry, TarSink } from './tar-reader.ts';
import type { UnpackMeter } from './unpack-meter.ts';

/**
 * Looks a layer's archive through without unpacking it: names and links that no unpacking would take,
 * and more than an image may hold, are refused. Throws `invalid-archive`.
 */
export class LayerCheck implements TarSink {
  readonly #meter: UnpackMeter;

  constructor(meter: UnpackMeter) {
    this.#meter = meter;
  }

  entry(entry: TarEntry): void {
    this.#meter.made(1);
    placeInLayer(entry.name);
    if (entry.type !== 'hard-link') return;
    if (layerDialect.targetOf(entry.linkName) === undefined) {
      throw refusedEntry(entry.name, `it is a hard link to ${JSON.stringify(entry.linkName)}`);
    }
  }

  content(): void {}

  entryEnd(): void {}
}
