# A worker in shell. It reads calls from stdin and writes replies to stdout, one JSON message a line.
echo '["up",{}]'
while IFS= read -r line; do
  case $line in
  '["do",'*',"echo",'*) rest=${line#*',"echo",'} && printf '["ok",{},%s]\n' "${rest%]}" ;;
  '["do",'*',"fail",'*) rest=${line#*',"fail",'} && printf '["er",{},%s]\n' "${rest%]}" ;;
  '["do",'*',"pid"]') printf '["ok",{},%d]\n' $$ ;;
  '["do",'*) echo '["er",{},"there is no such method"]' ;;
  esac
done
