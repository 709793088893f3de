import { describe, expect, it } from 'vitest';
import { renderEndpoint, simpleTemplate } from '../../../src/fetch/discovery-template.ts';

const labels = new Map([
  ['version', '1.2.0'],
  ['os', 'linux'],
  ['arch', 'amd64'],
]);

function rendered(template: string, values: ReadonlyMap<string, string> = labels) {
  const endpoint = renderEndpoint(template, 'example.com/team/app', values);
  return endpoint && [endpoint.image.href, endpoint.signature.href];
}

describe('a discovery template', () => {
  it('fills name, labels and extension', () => {
    expect(rendered('https://files.test/{os}/{arch}/{name}-{version}.{ext}')).toEqual([
      'https://files.test/linux/amd64/example.com/team/app-1.2.0.aci',
      'https://files.test/linux/amd64/example.com/team/app-1.2.0.aci.asc',
    ]);
  });

  it('has a simple form for names without a page', () => {
    expect(rendered(simpleTemplate)?.[0]).toBe(
      'https://example.com/team/app-1.2.0-linux-amd64.aci',
    );
  });

  it('is skipped when a variable has no value', () => {
    expect(rendered('https://files.test/{name}-{flavour}.{ext}')).toBeUndefined();
    expect(rendered('https://files.test/{name}-{}.{ext}')).toBeUndefined();
  });

  it('is skipped without an extension to tell image from signature', () => {
    expect(rendered('https://files.test/{name}.aci')).toBeUndefined();
  });

  it('is skipped when the result is no URL', () => {
    expect(rendered('files.test/{name}.{ext}')).toBeUndefined();
  });

  it('keeps a label within its path segment', () => {
    const values = new Map([...labels, ['version', '../x?y#z%2e{os}+1']]);
    expect(rendered('https://files.test/{version}.{ext}', values)?.[0]).toBe(
      'https://files.test/..%2Fx%3Fy%23z%252e%7Bos%7D+1.aci',
    );
  });

  it('takes the name from the image, not from a label called so', () => {
    const values = new Map([...labels, ['name', 'evil.test']]);
    expect(rendered('https://{name}.{ext}', values)?.[0]).toBe('https://example.com/team/app.aci');
  });
});
