// The history of the line as the proxy keeps it: more than the terminal holds, and every byte as it
// was printed.

/**
 * What was kept at the beginning of the download, in order; where something is missing, a line says
 * so.
 */
export async function fetchHistory(path: string, key: string): Promise<Blob> {
  const address = new URL('history', new URL(path, location.href));
  const parts: BlobPart[] = [];
  let end = 0;
  let from = 0;
  do {
    address.searchParams.set('from', String(from));
    const answer = await fetch(address, { headers: { 'X-Console-Resume': key } });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const bytes = await answer.arrayBuffer();
    const number = (name: string): number => Number(answer.headers.get(name));
    const offset = number('X-Console-Offset');
    if (offset > from) parts.push(`\r\n[${offset - from} bytes are no longer kept]\r\n`);
    parts.push(bytes);
    end ||= number('X-Console-End');
    from = number('X-Console-Next');
  } while (from < end);
  return new Blob(parts);
}
