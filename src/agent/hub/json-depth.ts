/** Whether JSON text is nested deeper than `max` levels. Linear time; the text needn't be valid JSON. */
export function isDeeperThan(max: number, text: string): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === '"') quoted = !quoted;
    else if (sign === '\\') at += 1;
    else if (!quoted && (sign === '{' || sign === '[')) depth += 1;
    else if (!quoted && (sign === '}' || sign === ']')) depth -= 1;
    if (depth > max) return true;
  }
  return false;
}
