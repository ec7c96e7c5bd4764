/** Does something as a user without rights of root's: whoever runs the tests, if that is no root. */
export async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  const { geteuid, seteuid } = process;
  if (geteuid?.() !== 0) return work();
  seteuid?.(65_534);
  try {
    return await work();
  } finally {
    seteuid?.(0);
  }
}
