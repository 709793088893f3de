import { Parser } from 'htmlparser2';
import { prefixesOf } from '../trust/trust-rule.ts';

/** What a discovery page says of one prefix: `content="prefix-match url"`. */
export interface DiscoveryTag {
  readonly prefix: string;
  /** A URL, or for images a template of one. */
  readonly value: string;
}

/** The two kinds of `meta` tags of a discovery page, in the order they stand there. */
export interface DiscoveryPage {
  readonly images: readonly DiscoveryTag[];
  readonly keys: readonly DiscoveryTag[];
}

/** Reads the discovery tags of an HTML page (appc spec/discovery.md, Discovery URL). */
export function parseDiscoveryPage(html: string): DiscoveryPage {
  const images: DiscoveryTag[] = [];
  const keys: DiscoveryTag[] = [];
  const parser = new Parser({
    onopentag: (element, attributes) => {
      if (element !== 'meta') return;
      const tag = parseTag(attributes['content'] ?? '');
      if (tag === undefined) return;
      if (attributes['name'] === 'ac-discovery') images.push(tag);
      if (attributes['name'] === 'ac-discovery-pubkeys') keys.push(tag);
    },
  });
  parser.end(html);
  return { images, keys };
}

/** Whether a tag speaks for a name: its prefix is the name's leading whole path components. */
export function speaksFor(tag: DiscoveryTag, name: string): boolean {
  return prefixesOf(name).includes(tag.prefix.replace(/\/$/, ''));
}

function parseTag(content: string): DiscoveryTag | undefined {
  const [, prefix, value] = /^\s*(\S+)\s+(\S.*?)\s*$/.exec(content) ?? [];
  return prefix === undefined || value === undefined ? undefined : { prefix, value };
}
