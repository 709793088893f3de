import { appendFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CosignKey } from '../support/cosign.ts';
import { createInstallation } from '../support/installation.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { type Contender, compete, isPresent, present, type Result } from './contender.ts';
import { bytesBelow } from './disk-usage.ts';
import type { Bench, Outcome } from './figures.ts';
import { makeOciLayout, type OciLayout, type PackedLayer, packLayer } from './oci-layout.ts';
import {
  complete,
  containerdPuller,
  gantryPuller,
  type Puller,
  podmanPuller,
  pullAgain,
  pullAnew,
  pullBeside,
} from './pulling.ts';
import { type Row, rowsOf } from './table.ts';
import { makeLargeRoot, shareFolders } from './workload.ts';

/** The same tree as one layer, as twelve, and with the twelfth of these another one. */
const SHAPES = ['single', 'twelve', 'changed'] as const;
type Shape = (typeof SHAPES)[number];
const LAYERS = 12;

/** The images to pull, in the registry and signed. */
interface Published {
  /** `127.0.0.1:PORT/large:SHAPE` */
  readonly references: Readonly<Record<Shape, string>>;
  readonly publicKey: string;
  readonly megabytes: number;
  /** What the layer that only `changed` has takes on a disk, packed and unpacked. */
  readonly changedBytes: number;
}

const absolute = { 'podman pull': 0.4, 'ctr image pull': 0.4 };

/** Pulls from Debian's docker-registry: one layer, twelve, unchanged ones, and eleven shared. */
export async function measureOci(bench: Bench): Promise<Outcome> {
  const needed = ['docker-registry', 'skopeo', 'cosign'];
  if (!isPresent(needed)) {
    console.error(`oci is not measured: not all of ${needed.join(', ')} are installed`);
    return { rows: [], results: [] };
  }
  const registry = await startRegistry({ parent: bench.directory });
  try {
    const published = await publish(bench.directory, registry);
    return await withPullers(bench, registry, published);
  } finally {
    await registry.close();
  }
}

async function withPullers(
  bench: Bench,
  registry: TestRegistry,
  published: Published,
): Promise<Outcome> {
  const { directory } = bench;
  const gantry = await createInstallation(join(directory, 'gantry'));
  const prefix = `--prefix=127.0.0.1:${registry.port}`;
  await gantry.call('trust', prefix, '--skip-fingerprint-review', published.publicKey);
  const ours = gantryPuller(gantry, registry);
  const peers = present([podmanPuller(directory, registry), containerdPuller(directory, registry)]);
  try {
    for (const peer of peers) await peer.setUp();
    const pulled = await comparePulls(bench, [ours, ...peers], published);
    const added = await measureSharing(ours, gantry.dataDirectory, published);
    return { rows: [...pulled.rows, added], results: pulled.results };
  } finally {
    await Promise.allSettled(peers.map((peer) => peer.tearDown()));
  }
}

/** Times the pulls; the first puller is ours. */
async function comparePulls(
  { stopwatch, rounds }: Bench,
  pullers: readonly Puller[],
  { references, megabytes }: Published,
): Promise<Outcome> {
  const turns = Math.max(3, Math.ceil(rounds / 4));
  const race = (contender: (puller: Puller) => Contender) =>
    compete(pullers.map(contender), turns, stopwatch);
  const single = await race((puller) => pullAnew(puller, references.single));
  const twelve = await race((puller) => pullAnew(puller, references.twelve));
  const again = await race((puller) => pullAgain(puller, references.twelve));
  const beside = await race((puller) => pullBeside(puller, references.twelve, references.changed));
  const size = `${megabytes.toFixed(0)} MB`;
  return {
    rows: [
      ...rowsOf(`pull, verify, unpack ${size}, one layer`, single, absolute),
      ...rowsOf(`pull, verify, unpack ${size}, ${LAYERS} layers`, twelve, absolute),
      ...rowsOf('pull again, unchanged', again, { 'podman pull': 0.5 }),
      ...rowsOf(`pull with ${LAYERS - 1} of ${LAYERS} layers there`, beside, {}),
      peakOf('peak memory, one layer', single),
      peakOf(`peak memory, ${LAYERS} layers`, twelve),
    ],
    // Named once: the figures differ in what is in the store before.
    results: single,
  };
}

function peakOf(figure: string, [ours]: readonly Result[]): Row {
  const megabytes = (ours?.peakBytes ?? Number.NaN) / 1e6;
  return { figure, unit: 'MB', ours: megabytes, bound: { most: 200 } };
}

/** What a second image adds to our store, by what the layer it does not share takes. */
async function measureSharing(
  ours: Puller,
  store: string,
  { references, changedBytes }: Published,
): Promise<Row> {
  await complete(ours.pull(references.twelve));
  const before = bytesBelow(store);
  await complete(ours.pull(references.changed));
  return {
    figure: `disk for the second, ${LAYERS - 1} of ${LAYERS} layers there`,
    unit: 'MB',
    ours: (bytesBelow(store) - before) / 1e6,
    peer: { name: 'the twelfth layer', value: changedBytes / 1e6 },
    bound: { most: 1.1 },
  };
}

/** Packs the images, pushes them by skopeo and signs them by cosign. */
async function publish(directory: string, registry: TestRegistry): Promise<Published> {
  const root = makeLargeRoot(directory);
  const pack = (name: string, members?: readonly string[]) =>
    packLayer(join(directory, `${name}.tar.gz`), root, members);
  const shares = shareFolders(LAYERS);
  const single = pack('single');
  const twelve = shares.map((share, index) => pack(`layer${index}`, share));
  const last = shares.at(-1) ?? [];
  appendFileSync(join(root, last[0] ?? '', 'changed.dat'), 'changed\n');
  const changed = pack('changed', last);
  const changedBytes =
    changed.size + last.reduce((sum, folder) => sum + bytesBelow(join(root, folder)), 0);
  rmSync(root, { recursive: true });
  const key = await CosignKey.generate(join(directory, 'cosign'));
  const layers: Record<Shape, PackedLayer[]> = {
    single: [single],
    twelve,
    changed: [...twelve.slice(0, -1), changed],
  };
  const references = { single: '', twelve: '', changed: '' };
  for (const shape of SHAPES) {
    const place = join(directory, shape);
    const name = `127.0.0.1:${registry.port}/large`;
    references[shape] = `${name}:${shape}`;
    const layout = makeOciLayout(place, layers[shape], references[shape]);
    await push(layout, references[shape], registry);
    await key.sign({ reference: `${name}@${layout.digest}`, registry });
  }
  return { references, publicKey: key.publicKey, megabytes: single.size / 1e6, changedBytes };
}

async function push(layout: OciLayout, reference: string, registry: TestRegistry): Promise<void> {
  const flags = ['--insecure-policy', '--preserve-digests'];
  const certificates = `--dest-cert-dir=${registry.certificates}`;
  const places = [`oci:${layout.directory}:1`, `docker://${reference}`];
  await complete({
    words: ['skopeo', 'copy', ...flags, certificates, ...places],
    environment: { NO_PROXY: '127.0.0.1' },
  });
  rmSync(layout.directory, { recursive: true });
}
