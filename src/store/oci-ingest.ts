import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest, imageIdOfManifest, sameDigest } from '../image/digest.ts';
import type { ImageNaming, ImageRecord } from '../image/image-record.ts';
import type { Descriptor } from '../image/oci-manifest.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import { writeSynced } from './durable.ts';
import { storeFailure } from './failure.ts';
import { ImageIndex, recordMode, recordText } from './image-index.ts';
import { type ComposedLayer, composeLayers, writeVariant } from './layer-composition.ts';
import { type ReceivedLayer, StagedLayer } from './layer-intake.ts';
import { layerTreeName } from './layer-note.ts';
import type { StoreLayout } from './layout.ts';
import { lockExclusively, pinImages } from './locks.ts';
import { renamed } from './naming.ts';
import { type Placement, placeOciImage } from './oci-placement.ts';
import type { LayerIntake, LayerOrder, OciFacts, OciIngest } from './staged-oci-image.ts';
import { Staging } from './staging.ts';
import { isLayerStored, storedLayer } from './stored-layer.ts';
import { UnpackBudget } from './unpack-meter.ts';
import { ThreadPool } from './unpack-threads.ts';
import { WindowBudget } from './window-budget.ts';

/** Starts to receive an OCI image into a staging directory of the store. */
export function beginOciIngest(layout: StoreLayout, limits: UnpackLimits): OciIngest {
  try {
    return new StagedOciIngest(layout, limits);
  } catch (error) {
    throw storeFailure(layout.dir, 'store an image', error);
  }
}

/** One layer of the image that is being committed: just received, or in the store already. */
type CommittedLayer = Pick<ReceivedLayer, 'order' | 'tree' | 'note'>;

class StagedOciIngest implements OciIngest {
  readonly #layout: StoreLayout;
  readonly #limits: UnpackLimits;
  readonly #staging: Staging;
  readonly #threads = new ThreadPool();
  readonly #budget = new UnpackBudget();
  readonly #windows = new WindowBudget();
  readonly #documents = new Map<string, { digest: Digest; path: string }>();
  readonly #received = new Map<string, ReceivedLayer>();
  readonly #intakes: StagedLayer[] = [];
  #places = 0;

  constructor(layout: StoreLayout, limits: UnpackLimits) {
    this.#layout = layout;
    this.#limits = limits;
    this.#staging = Staging.open(layout.staging);
  }

  addDocument({ digest, size }: Pick<Descriptor, 'digest' | 'size'>, bytes: Uint8Array): void {
    const name = formatDigest(digest);
    if (bytes.length !== size) {
      throw new GantryError(
        'invalid-archive',
        `${name}: it has ${bytes.length} bytes, not the ${size} its descriptor says`,
      );
    }
    const hex = createHash(digest.algorithm).update(bytes).digest('hex');
    if (hex !== digest.hex) {
      throw new GantryError(
        'invalid-archive',
        `${name}: what came has the digest ${formatDigest({ algorithm: digest.algorithm, hex })}`,
      );
    }
    const path = this.#place();
    this.#guarded(() => writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 }));
    this.#documents.set(name, { digest, path });
  }

  makeReady(layers: number): void {
    this.#threads.makeReady(layers);
  }

  hasLayer(order: LayerOrder): boolean {
    return this.#guarded(() => isLayerStored(this.#layout, order));
  }

  openLayer(order: LayerOrder): LayerIntake {
    return this.#guarded(() => {
      const intake = new StagedLayer(order, {
        dir: this.#layout.dir,
        threads: this.#threads,
        limits: this.#limits,
        budget: this.#budget.memory,
        windows: this.#windows,
        place: () => this.#place(),
        received: (layer) => this.#received.set(keyOf(layer.order), layer),
      });
      this.#intakes.push(intake);
      return intake;
    });
  }

  async commit(facts: OciFacts): Promise<ImageRecord> {
    try {
      await this.#threads.close();
      // One after the other: the record may have other names, which the new one keeps.
      using _turn = await lockExclusively(this.#layout, 'records');
      // Nobody may remove the layers found present before the record names them.
      using _pin = pinImages(this.#layout);
      return this.#commit(facts);
    } catch (error) {
      throw storeFailure(this.#layout.dir, 'store the image', error);
    } finally {
      await this.abort();
    }
  }

  async abort(): Promise<void> {
    await Promise.all(this.#intakes.splice(0).map((intake) => intake.abort()));
    await this.#threads.close();
    this.#staging.discard();
  }

  #commit(facts: OciFacts): ImageRecord {
    const layers = facts.layers.map((order) => this.#layerOf(order));
    this.#checkTotal(layers);
    const composed = this.#compose(layers);
    const record = this.#record(facts, layers, composed);
    const placement: Placement = {
      layers: [...this.#received.values()].filter(({ order }) => isAmong(facts.layers, order)),
      variants: composed,
      documents: [...this.#documents.values()],
      record,
      recordPath: this.#staging.path('record'),
      newPlace: () => this.#place(),
      sync: () => this.#staging.sync(),
    };
    writeSynced(placement.recordPath, recordText(record), recordMode);
    placeOciImage(this.#layout, placement);
    return record;
  }

  #layerOf(order: LayerOrder): CommittedLayer {
    const layer = this.#received.get(keyOf(order)) ?? storedLayer(this.#layout, order);
    if (layer !== undefined) return layer;
    throw new GantryError(
      'busy',
      `layer ${formatDigest(order.descriptor.digest)} was removed from the store meanwhile: fetch the image again`,
    );
  }

  /** Layers that were there already count as well: the limits are the whole image's. */
  #checkTotal(layers: readonly CommittedLayer[]): void {
    if (layers.length === 0) {
      throw new GantryError('invalid-archive', 'the image has no layers: there is nothing to run');
    }
    const { maxUnpackedBytes, maxEntries } = this.#limits;
    const total = (count: (layer: CommittedLayer) => number): number =>
      layers.reduce((sum, layer) => sum + count(layer), 0);
    const fault =
      total(({ note }) => note.size) > maxUnpackedBytes
        ? `it unpacks to more than ${maxUnpackedBytes} bytes; if it is trusted, raise maxUnpackedBytes`
        : total(({ note }) => note.entries) > maxEntries
          ? `it has more than ${maxEntries} entries; if it is trusted, raise maxEntries`
          : undefined;
    if (fault === undefined) return;
    throw new GantryError(
      'invalid-archive',
      `the image: ${fault} in a "limits" configuration file`,
    );
  }

  #compose(layers: readonly CommittedLayer[]): ComposedLayer[] {
    const laid = layers.map(({ order, tree, note }) => ({
      name: layerTreeName(order.diffId),
      tree,
      unmentioned: note.unmentioned,
    }));
    return composeLayers(laid, (_name, base, variant) => {
      const target = this.#place();
      writeVariant(base, variant, target);
      return target;
    });
  }

  #record(
    { manifest, index, config, appc, naming }: OciFacts,
    layers: readonly CommittedLayer[],
    composed: readonly ComposedLayer[],
  ): ImageRecord {
    const id = imageIdOfManifest(manifest.digest);
    const own: ImageNaming = { ...naming, importedAt: new Date().toISOString() };
    const known = new ImageIndex(this.#layout).get(id);
    const from = index ?? known?.oci?.index;
    const fresh: ImageRecord = {
      version: 1,
      id,
      ...own,
      blob: { ...manifest.digest, size: manifest.size },
      size: layers.reduce((sum, { note }) => sum + note.size, 0),
      manifest: appc,
      oci: {
        manifest,
        ...(from === undefined ? {} : { index: from }),
        config,
        layers: layers.map(({ order: { descriptor, diffId } }, at) => ({
          descriptor,
          diffId,
          tree: composed[at]?.name ?? layerTreeName(diffId),
        })),
      },
    };
    if (known === undefined) return fresh;
    const { aliases } = renamed(known, own);
    return aliases === undefined ? fresh : { ...fresh, aliases };
  }

  #place(): string {
    this.#places += 1;
    return this.#staging.path(String(this.#places));
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storeFailure(this.#layout.dir, 'store the image', error);
    }
  }
}

/** One blob may be two layers only where it unpacks to the same. */
function keyOf({ descriptor, diffId }: LayerOrder): string {
  return `${formatDigest(descriptor.digest)} ${formatDigest(diffId)}`;
}

function isAmong(orders: readonly LayerOrder[], { descriptor, diffId }: LayerOrder): boolean {
  return orders.some(
    (order) =>
      sameDigest(order.descriptor.digest, descriptor.digest) && sameDigest(order.diffId, diffId),
  );
}
