/* The shortest program: what is measured is that it starts, not what it does. */
int main(void) { return 0; }
