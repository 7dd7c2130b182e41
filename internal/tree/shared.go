package tree

// SharedDir is the folder at the root of a person's tree that holds what others
// share.
const SharedDir = "Shared with me"
