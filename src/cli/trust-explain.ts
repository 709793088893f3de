import { GantryError } from '../error.ts';
import { findByRegistry } from '../fetch/cached.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { displayName } from '../image/image-record.ts';
import type { Provenance } from '../image/provenance.ts';
import { parseReference, type Reference } from '../image/reference.ts';
import { repositoryName } from '../image/repository.ts';
import { Store } from '../store/store.ts';
import { trustedKeysFor } from '../trust/keystore.ts';
import { recheckProvenance } from '../trust/recheck.ts';
import { trustedRootFiles } from '../trust/trusted-roots.ts';
import type { CommandDefinition } from './command.ts';
import type { Context } from './context.ts';
import { formatJson } from './format.ts';
import { onlyOperand } from './image-selection.ts';
import { formatOption, parseFormat } from './output.ts';
import { oneLine, print } from './print.ts';
import { signerText } from './signer.ts';
import { formatTable } from './table.ts';
import { ruleText } from './trust-rule.ts';
import { describeTrustedKeys, keyJson, type ShownKey, whoText } from './trusted-keys.ts';

export const definition: CommandDefinition = {
  name: 'trust explain',
  summary: 'say who may vouch for an image, and who did',
  description:
    'Shows every key whose signature would be accepted for the name of the reference, and the rule it is trusted under; of an image in the store also who vouched for it, and whether that still stands.',
  operands: 'REFERENCE',
  options: [formatOption()],
  examples: ['gantry trust explain docker://registry.example.com/team/app:1.2'],
  async run(context, { operands, options }) {
    const format = parseFormat(options['format']);
    const explanation = await explain(context, onlyOperand(operands, 'image reference'));
    print(
      format === undefined
        ? explanationText(explanation)
        : `${formatJson(explanationJson(explanation), format)}\n`,
    );
    return 0;
  },
};

/** What would be accepted, and what was. */
interface Explanation {
  readonly name: string;
  /** What to add to the advice: ` KEY` where no key can be found by discovery. */
  readonly missing: string;
  readonly accepted: readonly ShownKey[];
  /** What keeps some of them from vouching for anything. */
  readonly note?: string | undefined;
  readonly stored?: { readonly record: ImageRecord; readonly standing: Standing } | undefined;
}

/** Whether a stored image would start now: nothing where it would, else why not. */
interface Standing {
  readonly objection?: string;
}

async function explain(context: Context, text: string): Promise<Explanation> {
  const reference = parseReference(text);
  const record = meantBy(reference, Store.open(context.dataDir));
  const name = nameOf(reference) ?? record?.name;
  if (name === undefined) {
    throw new GantryError(
      'not-found',
      `${text}: the name it has is not known before it is fetched: give the name itself, as example.com/app or docker://host/path`,
    );
  }
  const { directories } = context;
  const accepted = await describeTrustedKeys(trustedKeysFor(directories, name));
  return {
    name,
    // A registry has no discovery pages.
    missing: reference.kind === 'name' ? '' : ' KEY',
    accepted,
    note: missingRoots(accepted, directories),
    stored: record && { record, standing: await standingOf(record, context) },
  };
}

/** What `run` would take, else whatever is called so, as the image of another platform. */
function meantBy(reference: Reference, store: Store): ImageRecord | undefined {
  const own = reference.kind === 'registry' ? findByRegistry(store, reference) : undefined;
  return own ?? store.findImage(reference);
}

/** Who signs by an identity proves it by a deployment's authority and logs. */
function missingRoots(
  keys: readonly ShownKey[],
  directories: Context['directories'],
): string | undefined {
  const some = keys.some(({ description }) => description.kind === 'sigstore-identity');
  if (!some || trustedRootFiles(directories).length > 0) return undefined;
  return 'no sigstore trusted root is installed, without which no identity is believed: gantry trust --trusted-root FILE';
}

function nameOf(reference: Reference): string | undefined {
  switch (reference.kind) {
    case 'name':
      return reference.name;
    case 'registry':
      return repositoryName(reference.repository);
    default:
      return undefined;
  }
}

async function standingOf(record: ImageRecord, { directories }: Context): Promise<Standing> {
  try {
    await recheckProvenance(record.provenance, record.name, directories);
    return {};
  } catch (error) {
    if (error instanceof GantryError) return { objection: error.message };
    throw error;
  }
}

function explanationText({ name, missing, accepted, note, stored }: Explanation): string {
  const noteText = note === undefined ? '' : `${oneLine(note)}\n`;
  const acceptedText =
    accepted.length === 0
      ? `nobody's signature is accepted for ${name}: to change that run gantry trust --prefix ${name}${missing}\n`
      : `accepted for ${name} is a signature by any of:\n${formatTable([LEGEND, ...accepted.map(keyRow)])}${noteText}`;
  if (stored === undefined) return `${acceptedText}\nno such image is in the store\n`;
  const { record, standing } = stored;
  const lines = [
    `in the store: ${displayName(record)} (${record.id})`,
    ...provenanceLines(record.provenance),
    `would start: ${standing.objection === undefined ? 'yes' : `no: ${standing.objection}`}`,
  ];
  return `${acceptedText}\n${lines.map(oneLine).join('\n')}\n`;
}

const LEGEND = ['FINGERPRINT', 'KIND', 'BY', 'SIGNATURES', 'WHO'];

function keyRow({ trusted, description }: ShownKey): string[] {
  return [
    trusted.fingerprint,
    description.kind,
    ruleText(trusted.rule),
    SIGNATURES[description.kind],
    description.problem === undefined
      ? whoText(description)
      : `${whoText(description)} (${description.problem})`,
  ];
}

/** What each kind of key signs. */
const SIGNATURES: Readonly<Record<ShownKey['description']['kind'], string>> = {
  openpgp: 'detached, simple signing',
  'sigstore-key': 'cosign, bundle',
  'sigstore-identity': 'cosign, bundle',
  x509: 'notation',
};

function provenanceLines(provenance: Provenance): string[] {
  if (provenance.kind === 'unverified') return [`signed by: nobody (${provenance.reason})`];
  const { fingerprint, keyPath, rule, signature, signed, signedReference } = provenance;
  const logIndex = 'logIndex' in provenance ? provenance.logIndex : undefined;
  const lines: Record<string, string | undefined> = {
    'signed by': signerText(provenance, true),
    key: `${provenance.kind} ${fingerprint} (${keyPath})`,
    rule: ruleText(rule),
    signature: signature ?? 'detached',
    over: signed && `${signed.what} ${signed.digest.algorithm}:${signed.digest.hex}`,
    'signed as': signedReference,
    'log index': logIndex,
    'signed at': provenance.signedAt,
    'verified at': provenance.verifiedAt,
  };
  return Object.entries(lines).flatMap(([label, text]) =>
    text === undefined ? [] : [`${label}: ${text}`],
  );
}

function explanationJson({ name, accepted, note, stored }: Explanation) {
  return {
    name,
    accepted: accepted.map(keyJson),
    note,
    stored: stored && {
      id: stored.record.id,
      name: displayName(stored.record),
      provenance: stored.record.provenance,
      would_start: stored.standing.objection === undefined,
      objection: stored.standing.objection,
    },
  };
}
