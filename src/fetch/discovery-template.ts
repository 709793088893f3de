/** Where an image and its detached signature lie. */
export interface Endpoint {
  readonly image: URL;
  readonly signature: URL;
}

/** The endpoint to try for a name where no page says anything (appc spec/discovery.md). */
export const simpleTemplate = 'https://{name}-{version}-{os}-{arch}.{ext}';

/**
 * Fills a template's variables: `{name}`, `{ext}`, and any label. Undefined when a variable has no
 * value, when there is no `{ext}` to tell the image from its signature, or when the result is no
 * URL.
 */
export function renderEndpoint(
  template: string,
  name: string,
  labels: ReadonlyMap<string, string>,
): Endpoint | undefined {
  if (!template.includes('{ext}')) return undefined;
  const image = renderUrl(template, name, labels, 'aci');
  const signature = renderUrl(template, name, labels, 'aci.asc');
  return image === undefined || signature === undefined ? undefined : { image, signature };
}

function renderUrl(
  template: string,
  name: string,
  labels: ReadonlyMap<string, string>,
  ext: string,
): URL | undefined {
  let complete = true;
  // One pass: a brace in a label's value is a brace, not another variable.
  const text = template.replace(/\{([^{}]*)\}/g, (_, variable: string) => {
    if (variable === 'name') return name;
    if (variable === 'ext') return ext;
    const value = labels.get(variable);
    if (value === undefined) complete = false;
    return escapeSegment(value ?? '');
  });
  return complete ? (URL.parse(text) ?? undefined) : undefined;
}

/**
 * A label's value may be any text, but stays within its path segment: what would end the segment,
 * the path or the escape is escaped, and `+`, common in versions, is left as it is (RFC 3986 3.3).
 */
function escapeSegment(value: string): string {
  return encodeURIComponent(value).replace(/%2B|%3A|%40|%2C|%3D|%24/g, decodeURIComponent);
}
