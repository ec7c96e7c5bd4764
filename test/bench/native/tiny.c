/* The shortest program: benchmarks measure its start, not its work. */
int main(void) { return 0; }
