import { GantryError } from '../error.ts';
import { displayName, type ImageRecord } from '../image/image-record.ts';
import { Store } from '../store/store.ts';
import type { Reverification } from '../trust/reverification.ts';
import type { CommandDefinition } from './command.ts';
import type { Context } from './context.ts';
import { requireImage } from './image-selection.ts';
import { oneLine, print } from './print.ts';
import { signerText } from './signer.ts';

export const definition: CommandDefinition = {
  name: 'image verify',
  summary: 'check stored images and the signatures they were believed by',
  description:
    'Reads the stored bytes of each image again, checks their digests, compares every file of the unpacked trees with them, and checks the signature that is kept with the image against the keys trusted now.',
  operands: 'IMAGE...',
  async run(context, { operands }) {
    if (operands.length === 0) throw new GantryError('usage', 'must provide at least one image');
    const store = Store.open(context.dataDir);
    using _pin = store.pinImages();
    for (const image of operands) {
      const record = requireImage(store, image);
      await store.verifyImage(record);
      print(`successfully verified checksum for image: "${image}" ("${record.id}")\n`);
      print(`${lineOf(record, await reverified(context, store, record))}\n`);
    }
    return 0;
  },
};

async function reverified(
  { directories }: Context,
  store: Store,
  record: ImageRecord,
): Promise<Reverification> {
  const [{ reverify }, { loadRegistries }] = await Promise.all([
    import('../trust/reverification.ts'),
    import('../config/registries.ts'),
  ]);
  return await reverify({
    record,
    directories,
    openBlob: (digest) => store.openBlob(digest),
    identity: loadRegistries(directories).find(record.name, 'signedIdentity')?.value ?? 'tag',
  });
}

function lineOf(record: ImageRecord, outcome: Reverification): string {
  const image = `"${displayName(record)}"`;
  switch (outcome.kind) {
    case 'verified':
      return oneLine(
        `signature verified for image: ${image}: signed by ${signerText(outcome.provenance, true)}`,
      );
    case 'unverified':
      return oneLine(`nobody vouched for image: ${image}: ${outcome.reason}`);
    case 'not-kept':
      return oneLine(
        `only the bytes were checked for image: ${image}: it was signed by ${signerText(outcome.provenance, true)}, but ${outcome.reason}; fetch it again to check that`,
      );
  }
}
