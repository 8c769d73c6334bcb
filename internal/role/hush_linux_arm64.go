package role

// restorerFlag is SA_RESTORER, which this architecture doesn't need.
const restorerFlag = 0
