package role

// restorerFlag is SA_RESTORER. On this architecture the kernel wants to be told how to return from a handler.
const restorerFlag = 0x04000000
